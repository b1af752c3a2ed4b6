"""What the next step computes, as a list of calls to the library: a function of the sequences that hold streams, and of the
pauses that earlier steps have earned.

    step = [ decode calls, by context and class of length ] + [ one call for each chunk of a prompt ]

The library evaluates a batch in runs of consecutive stream ids, and every row of a run pays for the longest context in
it. So the rows of a step are cut into intervals of ids such that the sum of what calls and cells cost is least.

A prompt beside many decodes may lengthen each step by a share of what these take, by the same costs: its chunks shrink while
its context grows. Beside few decodes such chunks would be small, and small ones cost more for each row. There a prompt that is
not short waits for a pause of the decodes, which is one step in so many that most of a stream's tokens come as fast as if there
were no prompt; in it the prompt gets as much as it would have had in all of these steps, or more.

Every prompt under way brings its allowance. The one that got its stream first is sure of its own, so that it does not starve.
The rest goes to whose account has the fewest streams, so that a key that floods keeps nobody waiting, and then to whichever is
nearest to its first token: short prompts do not queue behind a long one.

A chunk has a call of its own: the library would cut a mixed batch into the same evaluations. It ends where an inset begins
or ends, and an inset whose rows see each other both ways is one chunk.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from functools import partial
from typing import NamedTuple

from completionist.engine.llama.costs import Costs
from completionist.engine.llama.sequence import Sequence

PROMPT_SHARE = 0.75
"""What one prompt may add to a step, as a share of its decodes, by the costs. (On an idle machine the slowest twentieth of the
steps beside a prompt of 4,000 tokens took 2.6 times as long with 0.75, 0.9 and 1.0: they are those of its end, where the
smallest chunk takes more than its share. The prompt took 1.95, 1.88 and 1.82 times as long as alone.)"""
MAX_PROMPT_SHARE = 8.0
"""What all prompts together may add."""
SHORT_ROWS = 128
"""A prompt is short if it is within its share, or makes the decodes wait no longer than for so many rows that attend to
nothing, all of them together: two of them 64 rows each."""
PAUSE_ROWS = 320
"""What a pause may take, in rows that attend to nothing."""
STEPS_FOR_A_PAUSE = 24
"""So fewer than one of twenty tokens waits for a pause."""
SAVED_PAUSES = 3
"""So many may follow each other after quiet steps."""
MIN_CHUNK_TOKENS = 8
"""The kernels compute blocks of rows: fewer would cost the same."""
RUN_BESIDE_DECODES_TOKENS = 32
"""Tokens beyond the first of each sequence in a step of several: those that are certain already, or proposed."""
_LEAST_FAST_CELLS = 256
_LEAST_FAST_SHARE = 3 / 8
"""Behind so many cells a chunk that has room for this share of the fast number of rows takes that number: 64 rows behind 1,000
cells take 1.5 times as long as 32."""
_WORTH_A_CALL_TOKENS = 4
"""The library evaluates what goes beyond the others' single rows by itself. A row there costs about half of one among
single rows, so fewer tokens are as cheap one by one."""
_CELL_STEP = 256
"""The library rounds the context that a call attends to up to a multiple of this."""


class Span(NamedTuple):
    """The next `n_tokens` of a sequence: pending ones, and behind them proposed ones."""

    sequence: Sequence
    n_tokens: int

    @property
    def n_guessed(self) -> int:
        """Proposed tokens among them."""
        return max(0, self.n_tokens - self.sequence.n_pending)

    @property
    def n_rows(self) -> int:
        """Positions that need logits: the last pending token's, which the next one is drawn from, and all proposed ones'."""
        return self.n_guessed + 1 if self.n_tokens >= self.sequence.n_pending else 0


Call = list[Span]


class Pauses:
    """Counts the steps that earn pauses."""

    def __init__(self) -> None:
        self._n_steps = SAVED_PAUSES * STEPS_FOR_A_PAUSE

    def count_step(self) -> None:
        self._n_steps = min(self._n_steps + 1, SAVED_PAUSES * STEPS_FOR_A_PAUSE)

    def take(self) -> bool:
        """Whether there is one; it is used up by that."""
        is_earned = self._n_steps >= STEPS_FOR_A_PAUSE
        self._n_steps -= STEPS_FOR_A_PAUSE * is_earned
        return is_earned


def plan(pools: Iterable[list[Sequence]], costs: Costs, max_call_tokens: int, pauses: Pauses) -> list[Call]:
    """Calls for one step. Each pool lists the sequences that can go on, by ascending stream id; a call stays within one pool
    and has at most `max_call_tokens` rows. The step is counted in `pauses`, and takes one where it needs it.
    """
    calls: list[Call] = []
    pools = list(pools)
    lengths = _lengths([one for holders in pools for one in holders if one.is_decoding], max_call_tokens)
    for holders in pools:
        decoding = [sequence for sequence in holders if sequence.is_decoding]
        calls += [[Span(one, lengths[one]) for one in interval] for interval in classes(decoding, costs)]
    prefilling = [sequence for holders in pools for sequence in holders if not sequence.is_decoding]
    crowds = Counter(sequence.request.account for holders in pools for sequence in holders)
    prefilling.sort(key=lambda sequence: (crowds[sequence.request.account], *_nearness(sequence)))
    pauses.count_step()
    budget_ms = math.inf  # a prompt alone may take as long as it likes
    if calls and prefilling:
        prefilling, budget_ms = _beside(calls, prefilling, costs, pauses)
    return calls + _chunks(prefilling, costs, budget_ms, max_call_tokens)


def _beside(
    decodes: list[Call], prefilling: list[Sequence], costs: Costs, pauses: Pauses
) -> tuple[list[Sequence], float]:
    """Of the prompts those that may have a chunk beside the decodes, and how long all their chunks may take."""
    decodes_ms = sum(map(partial(_call_ms, costs), decodes))
    share_ms = decodes_ms * min(MAX_PROMPT_SHARE, PROMPT_SHARE * len(prefilling))
    pause_ms = PAUSE_ROWS * costs.row_ms
    if STEPS_FOR_A_PAUSE * decodes_ms > pause_ms:  # the prompt would have less than half of the time
        return prefilling, share_ms
    short_ms = max(share_ms, SHORT_ROWS * costs.row_ms / sum(map(len, decodes)))
    short = [one for one in prefilling if _chunk_ms(one, one.n_in_call, costs) <= short_ms]
    if len(short) < len(prefilling) and pauses.take():
        return prefilling, pause_ms
    return short, short_ms


def _call_ms(costs: Costs, call: Call) -> float:
    """Rows beyond the first of a sequence are an evaluation for themselves, which is not counted."""
    return costs.of(sum(span.n_tokens for span in call), max(attended(span.sequence.n_cells + 1) for span in call))


def _lengths(decoding: list[Sequence], max_call_tokens: int) -> dict[Sequence, int]:
    """How many tokens of each sequence to evaluate: one alone takes all that it has, several share a budget. A run that would
    be cut before it gives a row waits for the next step: in pieces it would take more evaluations, and end later."""
    if len(decoding) == 1:
        return {one: min(one.n_ahead, one.n_cells_left, max_call_tokens) for one in decoding}
    lengths = dict.fromkeys(decoding, 1)
    budget = RUN_BESIDE_DECODES_TOKENS
    for sequence in sorted(decoding, key=_age):
        n_more = min(sequence.n_ahead, sequence.n_cells_left, budget + 1) - 1
        is_cut = n_more < sequence.n_pending - 1 and budget < RUN_BESIDE_DECODES_TOKENS
        if n_more >= _WORTH_A_CALL_TOKENS and not is_cut:
            lengths[sequence] += n_more
            budget -= n_more
    return lengths


def classes(decoding: list[Sequence], costs: Costs) -> list[list[Sequence]]:
    """Cut the sequences, which come by ascending stream id, into the intervals that are cheapest together."""
    n = len(decoding)
    lengths = [attended(sequence.n_cells + 1) for sequence in decoding]
    if n <= 1 or (max(lengths) == min(lengths) and decoding[-1].stream - decoding[0].stream == n - 1):
        return [decoding] if decoding else []
    best_ms, cut = [0.0] * (n + 1), [0] * (n + 1)
    for end in range(1, n + 1):
        best_ms[end], cut[end] = min(_last_intervals(decoding, lengths, costs, best_ms, end))
    intervals = []
    while n:
        intervals.append(decoding[cut[n] : n])
        n = cut[n]
    return intervals[::-1]


def _last_intervals(
    decoding: list[Sequence], lengths: list[int], costs: Costs, best_ms: list[float], end: int
) -> Iterable[tuple[float, int]]:
    """For every start of an interval that ends at `end` and has no hole: the cost up to there, and the start."""
    longest = 0
    for start in range(end - 1, -1, -1):
        if start + 1 < end and decoding[start].stream + 1 != decoding[start + 1].stream:
            return
        longest = max(longest, lengths[start])
        yield best_ms[start] + costs.call_ms + costs.cell_ms * longest * (end - start), start


def _chunks(prefilling: list[Sequence], costs: Costs, budget_ms: float, max_tokens: int) -> list[Call]:
    """Prompt chunks within `budget_ms` and `max_tokens`, best first; the prompt that got its stream first always has one."""
    if not prefilling:
        return []
    first = min(prefilling, key=_age)
    n_least = min(first.n_in_call, MIN_CHUNK_TOKENS)
    n_sure = max(n_least, _rows(first, costs, budget_ms / len(prefilling), max_tokens // len(prefilling)))
    left_ms, left_tokens = budget_ms - _chunk_ms(first, n_sure, costs), max_tokens - n_sure
    calls = []
    for sequence in prefilling:
        if sequence is first:
            left_ms, left_tokens = left_ms + _chunk_ms(first, n_sure, costs), left_tokens + n_sure
        n_tokens = _rows(sequence, costs, left_ms, left_tokens)
        if sequence is first:
            n_tokens = first.n_in_call if _is_whole(first) else max(n_sure, n_tokens)
        if n_tokens:
            calls.append([Span(sequence, n_tokens)])
            left_ms -= _chunk_ms(sequence, n_tokens, costs)
            left_tokens -= n_tokens
    return calls


def _rows(sequence: Sequence, costs: Costs, budget_ms: float, max_tokens: int) -> int:
    """The next chunk of a prompt: what fits, or 0 where that is neither its end nor worth a call."""
    fitting = min(float(max_tokens), costs.rows_within(budget_ms, attended(sequence.n_cells + MIN_CHUNK_TOKENS)))
    n_next = sequence.n_in_call
    n_tokens = min(n_next, int(fitting))
    is_nearly_fast = sequence.fast_rows * _LEAST_FAST_SHARE <= n_tokens < sequence.fast_rows <= min(n_next, max_tokens)
    if is_nearly_fast and sequence.n_cells >= _LEAST_FAST_CELLS:
        n_tokens = sequence.fast_rows
    return n_tokens if n_tokens >= (n_next if _is_whole(sequence) else min(MIN_CHUNK_TOKENS, n_next)) else 0


def _is_whole(sequence: Sequence) -> bool:
    """An inset comes next that is evaluated in one call or not at all."""
    return sequence.inset is not None and sequence.inset.is_whole


def _chunk_ms(sequence: Sequence, n_tokens: int, costs: Costs) -> float:
    return costs.of(n_tokens, attended(sequence.n_cells + n_tokens))


def attended(n_cells: int) -> int:
    """Cells that a call attends to when its longest context has `n_cells`."""
    return -(-n_cells // _CELL_STEP) * _CELL_STEP


def _age(sequence: Sequence) -> tuple[float, int]:
    """Who got its stream first. Not who came first: requests of a long queue came before everybody who asks now and then."""
    return sequence.request.started_s, sequence.request.id


def _nearness(sequence: Sequence) -> tuple[int, int]:
    """Shortest way to the first token first."""
    return sequence.n_pending, sequence.request.id
