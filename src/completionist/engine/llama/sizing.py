"""How many streams of how many cells: a wide context for many sequences, and a long one for those that outgrow it.

Memory for cells is taken, and touched, when a context is made, so the sizes follow from what is free.
"""

from __future__ import annotations

import math

import msgspec

from completionist.engine.llama.runner import ContextRefused

WIDE_STREAMS = 16
WIDE_TOKENS = 2048
LONG_STREAMS = 1
_FEWEST_STREAMS, _FEWEST_TOKENS = 1, 256
_SHARE_OF_FREE_MEMORY = 0.4
_MAX_WIDE_BYTES = 4 << 30
"""More would only be touched and never used on the machines this runs on; settings may ask for it."""


class Shape(msgspec.Struct, frozen=True):
    """One context."""

    n_streams: int
    tokens: int
    """Cells of each stream."""

    @property
    def n_cells(self) -> int:
        return self.n_streams * self.tokens


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator has fixed; None where memory and model decide."""

    streams: int | None = None
    stream_tokens: int | None = None
    """Of the wide context."""
    context_tokens: int | None = None
    """The most that one sequence can hold."""
    long_streams: int | None = None


def shapes(free_bytes: int, cell_bytes: int, trained_tokens: int, wishes: Wishes, *, can_move: bool) -> list[Shape]:
    """The wide context, and the long one where it is longer and sequences can move to it.

    Without wishes both are halved until they fit into a share of the free memory. Raises `ContextRefused` where what was
    wished for does not fit.
    """
    budget = int(free_bytes * _SHARE_OF_FREE_MEMORY)
    longest = wishes.context_tokens or trained_tokens
    if wishes.context_tokens is None:
        longest = _halve_to_fit(longest, budget // 2 // cell_bytes)
    tokens = min(longest, wishes.stream_tokens or WIDE_TOKENS) if can_move else longest
    n_long = (LONG_STREAMS if wishes.long_streams is None else wishes.long_streams) if tokens < longest else 0
    if not n_long and wishes.context_tokens is not None:
        tokens = longest
    left = min(budget - n_long * longest * cell_bytes, _MAX_WIDE_BYTES)
    n_streams = wishes.streams or _halve_streams(WIDE_STREAMS, max(1, left) // (tokens * cell_bytes))
    chosen = [Shape(n_streams, tokens)] + ([Shape(n_long, longest)] if n_long else [])
    needed = sum(shape.n_cells for shape in chosen) * cell_bytes
    if needed > free_bytes:
        raise ContextRefused(
            f"{_describe(chosen)} need {needed / 2**30:.1f} GiB and {free_bytes / 2**30:.1f} GiB are free: "
            "lower engine.streams or engine.context_tokens"
        )
    return chosen


def _halve_to_fit(tokens: int, n_cells: int) -> int:
    while tokens > max(n_cells, _FEWEST_TOKENS):
        tokens = math.ceil(tokens / 2)
    return tokens


def _halve_streams(n_streams: int, n_fit: int) -> int:
    while n_streams > max(n_fit, _FEWEST_STREAMS):
        n_streams //= 2
    return n_streams


def _describe(chosen: list[Shape]) -> str:
    return " and ".join(f"{shape.n_streams} streams of {shape.tokens} tokens" for shape in chosen)
