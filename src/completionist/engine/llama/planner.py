"""What the next step computes, as a list of calls to the library: a pure function of the sequences that hold streams.

    step = [ decode calls, by context and class of length ] + [ one call for each chunk of a prompt ]

The library evaluates a batch in runs of consecutive stream ids, and every row of a run pays for the longest context in
it. So the rows of a step are cut into intervals of ids such that the sum of what calls and cells cost is least.

A chunk has a call of its own: the library would cut a mixed batch into the same two evaluations, and so the shape in
which a prompt is computed does not depend on who else is there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from completionist.engine.llama.sequence import Sequence

CHUNK_BESIDE_DECODES_TOKENS = 32
"""Prompt tokens in a step that also decodes: doubles such a step (measured: 45 → 97 ms with 15 streams)."""
RUN_BESIDE_DECODES_TOKENS = 32
"""Tokens beyond the first of each sequence in a step of several: those that are certain already, or proposed."""
_WORTH_A_CALL_TOKENS = 4
"""The library evaluates what goes beyond the others' single rows by itself. A row there costs about half of one among
single rows, so fewer tokens are as cheap one by one."""
_CELL_STEP = 256
"""The library rounds the context that a call attends to up to a multiple of this."""


class Costs(msgspec.Struct, frozen=True):
    """What the shape of a step costs beyond its rows, in milliseconds."""

    call_ms: float
    """One more evaluation."""
    cell_ms: float
    """One row attending to one more cell."""


DEFAULT_COSTS = Costs(call_ms=6.0, cell_ms=0.0035)
"""Of the 135M model on two cores; only their ratio matters, until they are measured."""


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


def plan(pools: Iterable[list[Sequence]], costs: Costs, max_call_tokens: int) -> list[Call]:
    """Calls for one step. Each pool lists its sequences by ascending stream id; a call stays within one pool and has at
    most `max_call_tokens` rows.
    """
    calls: list[Call] = []
    pools = list(pools)
    lengths = _lengths([one for holders in pools for one in holders if one.is_decoding], max_call_tokens)
    for holders in pools:
        decoding = [sequence for sequence in holders if sequence.is_decoding]
        calls += [[Span(one, lengths[one]) for one in interval] for interval in classes(decoding, costs)]
    prefilling = [sequence for holders in pools for sequence in holders if not sequence.is_decoding]
    budget = CHUNK_BESIDE_DECODES_TOKENS if calls else max_call_tokens
    return calls + _chunks(prefilling, budget, max_call_tokens)


def _lengths(decoding: list[Sequence], max_call_tokens: int) -> dict[Sequence, int]:
    """How many tokens of each sequence to evaluate: one alone takes all that it has, several share a budget."""
    if len(decoding) == 1:
        return {one: min(one.n_ahead, one.n_cells_left, max_call_tokens) for one in decoding}
    lengths = dict.fromkeys(decoding, 1)
    budget = RUN_BESIDE_DECODES_TOKENS
    for sequence in sorted(decoding, key=_age):
        n_more = min(sequence.n_ahead, sequence.n_cells_left, budget + 1) - 1
        if n_more >= _WORTH_A_CALL_TOKENS:
            lengths[sequence] += n_more
            budget -= n_more
    return lengths


def classes(decoding: list[Sequence], costs: Costs) -> list[list[Sequence]]:
    """Cut the sequences, which come by ascending stream id, into the intervals that are cheapest together."""
    n = len(decoding)
    lengths = [-(-(sequence.n_cells + 1) // _CELL_STEP) * _CELL_STEP for sequence in decoding]
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


def _chunks(prefilling: list[Sequence], budget: int, max_call_tokens: int) -> list[Call]:
    """Prompt chunks within `budget` tokens; prompts that started first come first."""
    calls = []
    for sequence in sorted(prefilling, key=_age):
        if budget <= 0:
            break
        n_tokens = min(sequence.n_pending, budget, max_call_tokens)
        calls.append([Span(sequence, n_tokens)])
        budget -= n_tokens
    return calls


def _age(sequence: Sequence) -> int:
    return sequence.request.id
