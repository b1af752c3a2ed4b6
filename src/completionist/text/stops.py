"""Text → text up to the first stop string, which itself is never shown (contract 2.6).

The *first* stop string is the one that is complete first, character by character, so the answer does not depend on how
the text was cut into tokens, and generation can end there and then. Where two are complete at the same character, the
longer one counts: it began earlier, and none of it is shown.

Text is held back only while it is the beginning of a stop string. Time is linear in the text, whatever the length of the
stop strings: nothing is computed for a part of one that the text has not reached.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence


class StopStrings:
    """Feed text, take what is certain to be shown; then `finish`, unless a stop string was met.

    What comes out is a prefix of what went in, character for character, so whoever needs to know which tokens have been
    shown counts characters on both sides.
    """

    def __init__(self, stop_strings: Sequence[str] = ()) -> None:
        """`stop_strings` are not empty."""
        self._automata = [_Automaton(stop_string) for stop_string in stop_strings]
        self._held: deque[str] = deque()
        self._n_held = 0
        self._n_shown_of_first = 0
        self.is_met = False
        """A stop string was complete; nothing more will come out."""

    def feed(self, text: str) -> str:
        """The part of all text so far that can no longer belong to a stop string, without what came out before."""
        if not self._automata or self.is_met:
            return "" if self.is_met else text
        end, length = self._first_match(text)
        self._hold(text[:end])
        self.is_met = length > 0
        n_kept = length or max(automaton.n_matched for automaton in self._automata)
        return self._release(self._n_held - n_kept)

    def finish(self) -> str:
        """The text is over: what was held back is shown after all."""
        return "" if self.is_met else self._release(self._n_held)

    def _first_match(self, text: str) -> tuple[int, int]:
        """Where in `text` the first stop string ends, and the length of that string; the end of `text` and 0 without one."""
        end, length = len(text), 0
        for automaton in self._automata:
            found = automaton.feed(text, end)
            if found and (found < end or length == 0 or automaton.length > length):
                end, length = found, automaton.length
        return end, length

    def _hold(self, text: str) -> None:
        if text:
            self._held.append(text)
            self._n_held += len(text)

    def _release(self, n_characters: int) -> str:
        released = []
        self._n_held -= n_characters
        while n_characters > 0:
            run = self._held[0][self._n_shown_of_first : self._n_shown_of_first + n_characters]
            n_characters -= len(run)
            self._n_shown_of_first += len(run)
            released.append(run)
            if self._n_shown_of_first == len(self._held[0]):
                self._held.popleft()
                self._n_shown_of_first = 0
        return "".join(released)


class _Automaton:
    """Knuth, Morris and Pratt's, for one string. Its failure table grows with the longest match so far."""

    def __init__(self, string: str) -> None:
        self._string = string
        self.length = len(string)
        self.n_matched = 0
        """Characters at the end of the text that are the beginning of the string."""
        self._failures = [0]
        self._border = 0

    def feed(self, text: str, end: int) -> int:
        """Read `text` up to `end`. Returns the position behind the string where that is reached, else 0."""
        position = 0
        while position < end:
            if self.n_matched == 0:
                position = text.find(self._string[0], position, end)
                if position < 0:
                    return 0
            self._step(text[position])
            position += 1
            if self.n_matched == self.length:
                return position
        return 0

    def _step(self, character: str) -> None:
        while self.n_matched and self._string[self.n_matched] != character:
            self.n_matched = self._failures[self.n_matched - 1]
        if self._string[self.n_matched] == character:
            self.n_matched += 1
            self._learn_failure()

    def _learn_failure(self) -> None:
        """Enter how much of a match of `n_matched` characters is left when the next one does not fit."""
        last = self.n_matched - 1
        if last < len(self._failures):
            return
        while self._border and self._string[self._border] != self._string[last]:
            self._border = self._failures[self._border - 1]
        if self._string[self._border] == self._string[last]:
            self._border += 1
        self._failures.append(self._border)
