"""How many streams of how many cells: a wide context for many sequences, a long one for those that outgrow it, and one of short
streams for bursts of requests that say that they stay short.

Memory for cells is taken, and touched, when a context is made, so the sizes follow from what is free.
"""

from __future__ import annotations

import math

import msgspec

from completionist.engine.llama.runner import ContextRefused, Footprint

WIDE_STREAMS = 16
WIDE_TOKENS = 2048
LONG_STREAMS = 1
SHORT_STREAMS = 48
SHORT_TOKENS = 512
_FEWEST_TOKENS = 256
_SHARE_OF_FREE_MEMORY = 0.4
_MAX_WIDE_BYTES = 4 << 30
"""More would only be touched and never used on the machines this runs on; settings may ask for it."""
_MAX_SHORT_BYTES = 1 << 30
"""Models whose cells are so large compute so slowly that more streams side by side are of little use."""


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
    short_streams: int | None = None


class Shapes(msgspec.Struct, frozen=True):
    """The contexts of a model."""

    wide: Shape
    long: Shape | None = None
    """Where it is longer than the wide one, and sequences can move to it."""
    short: Shape | None = None
    """Where it is shorter than the wide one, and states can be copied to it."""

    @property
    def all(self) -> list[Shape]:
        return [shape for shape in (self.wide, self.long, self.short) if shape]


def shapes(free_bytes: int, footprint: Footprint, trained_tokens: int, wishes: Wishes, *, can_move: bool) -> Shapes:
    """Without wishes all contexts are halved until they fit into a share of the free memory; who says how many streams there
    are has no short ones beside these unless asked for. Raises `ContextRefused` where what was wished for does not fit.
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
    left = min(budget - footprint.of(n_long, longest) - footprint.of(n_streams, tokens), _MAX_SHORT_BYTES)
    n_short = _short_streams(left, footprint, wishes) if can_move and tokens > SHORT_TOKENS else 0
    chosen = Shapes(
        Shape(n_streams, tokens),
        Shape(n_long, longest) if n_long else None,
        Shape(n_short, SHORT_TOKENS) if n_short else None,
    )
    needed = sum(footprint.of(shape.n_streams, shape.tokens) for shape in chosen.all)
    if needed > free_bytes:
        raise ContextRefused(
            f"{_describe(chosen)} need {needed / 2**30:.1f} GiB and {free_bytes / 2**30:.1f} GiB are free: "
            "lower engine.streams or engine.context_tokens"
        )
    return chosen


def _short_streams(left_bytes: int, footprint: Footprint, wishes: Wishes) -> int:
    if wishes.short_streams is not None:
        return wishes.short_streams
    if wishes.streams is not None:
        return 0
    n_streams = SHORT_STREAMS
    while n_streams and footprint.of(n_streams, SHORT_TOKENS) > left_bytes:
        n_streams //= 2
    return n_streams


def _halve_tokens(tokens: int, n_bytes: int, footprint: Footprint) -> int:
    while tokens > _FEWEST_TOKENS and footprint.of(1, tokens) > n_bytes:
        tokens = math.ceil(tokens / 2)
    return tokens


def _halve_streams(tokens: int, n_bytes: int, footprint: Footprint) -> int:
    n_streams = WIDE_STREAMS
    while n_streams > 1 and footprint.of(n_streams, tokens) > n_bytes:
        n_streams //= 2
    return n_streams


def _describe(chosen: Shapes) -> str:
    return " and ".join(f"{shape.n_streams} streams of {shape.tokens} tokens" for shape in chosen.all)
