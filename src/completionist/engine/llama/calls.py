"""The spans of a step, and how they are cut into calls to the library such that all calls together cost least.

The library evaluates a call piece by piece. A piece has equally many rows of each stream in a run of consecutive ids, as
many as the stream that has fewest left: rows of 1, 1, 33, 33, 1 tokens are two pieces, one of five rows and one of twice 32.
Every row of a piece attends to as many cells as the longest context in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from completionist.engine.llama.costs import Costs
from completionist.engine.llama.sequence import Sequence

CELL_STEP = 256
"""The library rounds the context that a piece attends to up to a multiple of this."""
_DIGITS = 6
"""Of milliseconds: what costs the same must not differ by how it is summed."""


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


class _Size(NamedTuple):
    """What a span costs by."""

    stream: int
    n_tokens: int
    n_cells: int
    """That its rows attend to."""


def cut(spans: list[Span], costs: Costs, max_call_tokens: int) -> list[Call]:
    """Cut the spans of one context, which come by ascending stream id, into the calls that are cheapest together."""
    n = len(spans)
    if n <= 1 or _is_one_piece(spans):
        return [spans] if spans else []
    sizes = [_Size(one.stream, n_tokens, attended(one.n_cells + n_tokens)) for one, n_tokens in spans]
    best_ms, starts = [0.0] * (n + 1), [0] * (n + 1)
    for end in range(1, n + 1):
        best_ms[end], latest = min(_last_calls(sizes[:end], costs, max_call_tokens, best_ms))
        starts[end] = -latest
    calls = []
    while n:
        calls.append(spans[starts[n] : n])
        n = starts[n]
    return calls[::-1]


def attended(n_cells: int) -> int:
    """Cells that a row attends to when the longest context of its piece has `n_cells`."""
    return -(-n_cells // CELL_STEP) * CELL_STEP


def _is_one_piece(spans: list[Span]) -> bool:
    """Whether they are one token each, of like length and on consecutive streams: what most steps are."""
    first, last = spans[0].sequence, spans[-1].sequence
    if last.stream - first.stream != len(spans) - 1:
        return False
    length = attended(first.n_cells + 1)
    return all(n_tokens == 1 and attended(one.n_cells + 1) == length for one, n_tokens in spans)


def _last_calls(
    sizes: list[_Size], costs: Costs, max_call_tokens: int, best_ms: list[float]
) -> Iterator[tuple[float, int]]:
    """For every call that ends with the last of these spans: the cost up to there but for that of rows, which is the same
    however they are cut, and its start, negative: of two that cost the same the shorter call is the lesser."""
    n_rows = longest = longest_chunk = n_pieces = 0
    heights: list[int] = []  # of the spans that one further down may share a piece with
    next_stream = sizes[-1].stream + 1
    for start in range(len(sizes) - 1, -1, -1):
        stream, n_tokens, n_cells = sizes[start]
        n_rows += n_tokens
        if n_rows > n_tokens and (stream + 1 != next_stream or n_rows > max_call_tokens):
            return
        next_stream = stream
        longest = max(longest, n_cells)
        if n_tokens > 1:
            longest_chunk = max(longest_chunk, n_cells)
        while heights and heights[-1] > n_tokens:
            heights.pop()
        if not heights or heights[-1] < n_tokens:
            heights.append(n_tokens)
            n_pieces += 1
        n_first = len(sizes) - start if heights[0] == 1 else n_rows  # of the piece that has all streams
        cells = longest * n_first + longest_chunk * (n_rows - n_first)
        yield round(best_ms[start] + costs.call_ms * n_pieces + costs.cell_ms * cells, _DIGITS), -start
