"""Pictures among the tokens of a prompt: where they are, what stands for them, and where evaluation may begin again.

A picture's rows are no tokens. In lists of tokens each row has a negative number from the digest of the picture, so that the
same picture is found in the prefix cache, and another one never is. The library gets the encoder's rows instead, in calls
of their own; so a picture's first and last row are always ends of a call.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]
"""One for each place that a picture takes, as wide as the model's input."""


@dataclass(slots=True, eq=False, kw_only=True)
class Shown:
    """A picture, or one tile of it, at its place in a prompt."""

    start: int
    """Tokens before it."""
    n_tokens: int
    is_whole: bool
    """Its rows see each other both ways: all of them in one call."""
    chunk: Any
    """The library's, for the encoder."""
    rows: Future[Rows] | None = None
    """None: it has not been asked for."""

    @property
    def end(self) -> int:
        return self.start + self.n_tokens

    @property
    def is_ready(self) -> bool:
        return self.rows is not None and self.rows.done()

    def part(self, first: int, n_tokens: int) -> Rows:
        """Rows from place `first` of the prompt on; it must be ready."""
        if self.rows is None:
            raise RuntimeError("a picture is evaluated that nobody has encoded")
        return self.rows.result()[first - self.start : first - self.start + n_tokens]


Pictures = tuple[Shown, ...]
"""Of one prompt, in order."""


def ids_for(digest: bytes, n_tokens: int) -> list[int]:
    """Negative numbers that stand for the rows of a picture."""
    words = np.frombuffer(hashlib.shake_256(digest).digest(4 * n_tokens), np.int32)
    numbers: list[int] = (words | np.int32(-(2**31))).tolist()
    return numbers


def shown_at(pictures: Pictures, n_tokens: int) -> Shown | None:
    """The picture to which the token behind the first `n_tokens` belongs."""
    return next((one for one in pictures if one.start <= n_tokens < one.end), None)


def n_until_edge(pictures: Pictures, n_tokens: int, n_pending: int) -> int:
    """How many of the next `n_pending` tokens may be in one call with the first of them."""
    edges = (edge for one in pictures for edge in (one.start, one.end) if edge > n_tokens)
    return min(n_pending, next(edges, n_tokens + n_pending) - n_tokens)


def resumable(pictures: Pictures, n_tokens: int, *, block: int) -> int:
    """The most of the first `n_tokens` after which a prompt may be gone on with: at the edge of a picture, or at a multiple of
    `block` behind one, as a cold run would; never within one."""
    edge = max((edge for one in pictures for edge in (one.start, one.end) if edge <= n_tokens), default=0)
    return edge if shown_at(pictures, edge) else edge + (n_tokens - edge) // block * block
