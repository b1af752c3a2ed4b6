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
    """The next `n_tokens` pending tokens of a sequence."""

    sequence: Sequence
    n_tokens: int

    @property
    def reaches_end(self) -> bool:
        """After this span the next token can be drawn, so the last position needs logits."""
        return self.n_tokens == self.sequence.n_pending


Call = list[Span]


def plan(pools: Iterable[list[Sequence]], costs: Costs, max_call_tokens: int) -> list[Call]:
    """Calls for one step. Each pool lists its sequences by ascending stream id; a call stays within one pool and has at
    most `max_call_tokens` rows.
    """
    calls: list[Call] = []
    prefilling: list[Sequence] = []
    for holders in pools:
        decoding = [sequence for sequence in holders if sequence.n_pending == 1]
        prefilling += [sequence for sequence in holders if sequence.n_pending > 1]
        calls += [[Span(sequence, 1) for sequence in interval] for interval in classes(decoding, costs)]
    budget = CHUNK_BESIDE_DECODES_TOKENS if calls else max_call_tokens
    return calls + _chunks(prefilling, budget, max_call_tokens)


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
