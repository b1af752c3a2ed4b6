"""Pictures and sounds among the tokens of a prompt: where they are, what stands for them, and where evaluation may begin again.

The rows of such an *inset* are no tokens. In lists of tokens each row has a negative number from the digest of its picture or
sound, so that the same one is found in the prefix cache, and another one never is. The library gets the encoder's rows
instead, in calls of their own; so an inset's first and last row are always ends of a call.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]
"""One for each place that an inset takes, as wide as the model's input."""


@dataclass(slots=True, eq=False, kw_only=True)
class Inset:
    """A picture or a tile of it, a sound or a stretch of it, at its place in a prompt."""

    start: int
    """Tokens before it."""
    n_tokens: int
    is_whole: bool
    """Its rows see each other both ways: all of them in one call."""
    chunk: Any
    """The library's, for the encoder."""
    rows: Future[Rows] | None = None
    """None: it has not been asked for."""
    encode_s: float = 0.0
    """How long that took."""

    @property
    def end(self) -> int:
        return self.start + self.n_tokens

    @property
    def is_ready(self) -> bool:
        return self.rows is not None and self.rows.done()

    def part(self, first: int, n_tokens: int) -> Rows:
        """Rows from place `first` of the prompt on; it must be ready."""
        if self.rows is None:
            raise RuntimeError("an inset is evaluated that nobody has encoded")
        return self.rows.result()[first - self.start : first - self.start + n_tokens]


Insets = tuple[Inset, ...]
"""Of one prompt, in order."""


def ids_for(digest: bytes, n_tokens: int) -> list[int]:
    """Negative numbers that stand for the rows of an inset."""
    words = np.frombuffer(hashlib.shake_256(digest).digest(4 * n_tokens), np.int32)
    numbers: list[int] = (words | np.int32(-(2**31))).tolist()
    return numbers


def inset_at(insets: Insets, n_tokens: int) -> Inset | None:
    """The inset to which the token behind the first `n_tokens` belongs."""
    return next((one for one in insets if one.start <= n_tokens < one.end), None)


def n_until_edge(insets: Insets, n_tokens: int, n_pending: int) -> int:
    """How many of the next `n_pending` tokens may be in one call with the first of them."""
    edges = (edge for one in insets for edge in (one.start, one.end) if edge > n_tokens)
    return min(n_pending, next(edges, n_tokens + n_pending) - n_tokens)


def resumable(insets: Insets, n_tokens: int, *, block: int) -> int:
    """The most of the first `n_tokens` after which a prompt may be gone on with: at the edge of an inset, or at a multiple of
    `block` behind one, as a cold run would; never within one."""
    edge = max((edge for one in insets for edge in (one.start, one.end) if edge <= n_tokens), default=0)
    return edge if inset_at(insets, edge) else edge + (n_tokens - edge) // block * block
