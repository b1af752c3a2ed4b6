"""A client's prediction as a source of proposals: where in it the answer is, and how much of it to try next.

    prediction  a b c d e f g h i j
    answer      a b c X Y g h i          the answer left it at X and is back at j, because «g h i» is found once more

Where the answer follows the prediction, runs grow twofold; where it does not, nothing is tried until some of its last
tokens stand in the prediction, so that a prediction that fits nowhere costs next to nothing. A row of a run costs up to
half as much as a step of its own, so an attempt that is mostly wrong is a loss: runs and eagerness shrink after it.
"""

from __future__ import annotations

from bisect import bisect_right

FIRST_RUN_TOKENS = 16
LONGEST_RUN_TOKENS = 64
_SHORTEST_RUN_TOKENS = 4
_FEWEST_MATCHING, _MOST_MATCHING = 3, 16
"""Tokens that must agree before the prediction is taken up again: more after attempts that were mostly wrong."""
_PLACES_TRIED = 4


class Prediction:
    """Of one answer."""

    def __init__(self, tokens: list[int]) -> None:
        self._tokens = tokens
        self._place: int | None = 0
        self._left_at = 0
        self._run = FIRST_RUN_TOKENS
        self._n_matching = _FEWEST_MATCHING
        self._last: list[int] = []
        self._index: dict[tuple[int, ...], list[int]] | None = None
        self.n_accepted = 0
        self.n_rejected = 0

    def proposed(self, max_tokens: int) -> list[int]:
        """What may come next; empty where the answer is not in the prediction."""
        if self._place is None:
            return []
        return self._tokens[self._place : self._place + min(self._run, max_tokens)]

    def judge(self, n_proposed: int, n_kept: int) -> None:
        """Of so many verified tokens the first `n_kept` were right."""
        if not n_proposed:
            return
        self.n_accepted += n_kept
        self.n_rejected += n_proposed - n_kept
        if n_kept == n_proposed:
            self._run = min(2 * self._run, LONGEST_RUN_TOKENS)
            self._n_matching = max(self._n_matching // 2, _FEWEST_MATCHING)
        else:
            self._run = min(max(n_kept // 2, _SHORTEST_RUN_TOKENS), FIRST_RUN_TOKENS)
            if n_kept < n_proposed / 2:
                self._n_matching = min(2 * self._n_matching, _MOST_MATCHING)

    def follow(self, token: int) -> None:
        """`token` is the next one of the answer."""
        self._last = [*self._last[1 - _MOST_MATCHING :], token]
        if self._place is not None and self._tokens[self._place : self._place + 1] == [token]:
            self._place += 1
            return
        self._left_at = self._left_at if self._place is None else self._place
        self._place = self._found_again()

    def _found_again(self) -> int | None:
        """Behind the last tokens of the answer where the prediction has them too: at the first such place after the one
        where the answer left it, else at the first of all."""
        if len(self._last) < self._n_matching:
            return None
        wanted = self._last[-self._n_matching :]
        places = self._places().get(tuple(wanted[-_FEWEST_MATCHING:]), [])
        nearest = bisect_right(places, self._left_at)
        for place in (places[nearest:] + places[:nearest])[:_PLACES_TRIED]:
            if self._tokens[max(0, place - self._n_matching) : place] == wanted:
                return place
        return None

    def _places(self) -> dict[tuple[int, ...], list[int]]:
        """Where each run of a few tokens ends, made when first needed."""
        if self._index is None:
            self._index = {}
            for end in range(_FEWEST_MATCHING, len(self._tokens) + 1):
                self._index.setdefault(tuple(self._tokens[end - _FEWEST_MATCHING : end]), []).append(end)
        return self._index
