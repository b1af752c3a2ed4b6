"""How many streams of how many cells: a wide context for many sequences, and a long one for those that outgrow it.

Memory for cells is taken, and touched, when a context is made, so the sizes follow from what is free.
"""

from __future__ import annotations

import math

import msgspec

from completionist.engine.llama.runner import ContextRefused, Footprint

WIDE_STREAMS = 16
WIDE_TOKENS = 2048
LONG_STREAMS = 1
_FEWEST_TOKENS = 256
_SHARE_OF_FREE_MEMORY = 0.4
_MAX_WIDE_BYTES = 4 << 30
"""More would only be touched and never used on the machines this runs on; settings may ask for it."""


class Shape(msgspec.Struct, frozen=True):
    """One context."""

    n_streams: int
    tokens: int
    """Cells of each stream."""


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator has fixed; None where memory and model decide."""

    streams: int | None = None
    stream_tokens: int | None = None
    """Of the wide context."""
    context_tokens: int | None = None
    """The most that one sequence can hold."""
    long_streams: int | None = None


def shapes(
    free_bytes: int, footprint: Footprint, trained_tokens: int, wishes: Wishes, *, can_move: bool
) -> list[Shape]:
    """The wide context, and the long one where it is longer and sequences can move to it.

    Without wishes both are halved until they fit into a share of the free memory. Raises `ContextRefused` where what was
    wished for does not fit.
    """
    budget = int(free_bytes * _SHARE_OF_FREE_MEMORY)
    longest = wishes.context_tokens or trained_tokens
    if wishes.context_tokens is None:
        longest = _halve_tokens(longest, budget // 2, footprint)
    tokens = min(longest, wishes.stream_tokens or WIDE_TOKENS) if can_move else longest
    n_long = (LONG_STREAMS if wishes.long_streams is None else wishes.long_streams) if tokens < longest else 0
    if not n_long and wishes.context_tokens is not None:
        tokens = longest
    left = min(budget - footprint.of(n_long, longest), _MAX_WIDE_BYTES)
    n_streams = wishes.streams or _halve_streams(tokens, left, footprint)
    chosen = [Shape(n_streams, tokens)] + ([Shape(n_long, longest)] if n_long else [])
    needed = sum(footprint.of(shape.n_streams, shape.tokens) for shape in chosen)
    if needed > free_bytes:
        raise ContextRefused(
            f"{_describe(chosen)} need {needed / 2**30:.1f} GiB and {free_bytes / 2**30:.1f} GiB are free: "
            "lower engine.streams or engine.context_tokens"
        )
    return chosen


def _halve_tokens(tokens: int, n_bytes: int, footprint: Footprint) -> int:
    while tokens > _FEWEST_TOKENS and footprint.of(1, tokens) > n_bytes:
        tokens = math.ceil(tokens / 2)
    return tokens


def _halve_streams(tokens: int, n_bytes: int, footprint: Footprint) -> int:
    n_streams = WIDE_STREAMS
    while n_streams > 1 and footprint.of(n_streams, tokens) > n_bytes:
        n_streams //= 2
    return n_streams


def _describe(chosen: list[Shape]) -> str:
    return " and ".join(f"{shape.n_streams} streams of {shape.tokens} tokens" for shape in chosen)
