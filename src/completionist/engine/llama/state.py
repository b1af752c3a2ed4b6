"""A copy of one stream's cells in host memory: the content of the prefix cache, and how sequences move.

What the library writes names its own stream count and holds an empty record for every other stream, so it fits only a
context of the same count:

    u32 magic · u32 sequence · u32 n_streams · n_streams times ( u32 n_cells · cells, if there are any )

For plain attention the one record with cells is kept, and head and empty records are written anew for the context that
it is restored to. Other kinds of memory write several such tables; their states go back only where they came from.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from completionist.engine.llama.cells import first_cells, turn

_HEAD = struct.Struct("<III")
_COUNT_BYTES = 4


class State:
    """Bytes of one stream, with room for the empty records of the largest context around them."""

    __slots__ = ("_buffer", "_end", "_magic", "_n_streams", "_start", "is_movable")

    def __init__(
        self, written: NDArray[np.uint8], n_bytes: int, *, stream: int, n_streams: int, is_movable: bool
    ) -> None:
        """`written` holds `n_bytes` from the library and `room(…)` bytes behind them."""
        self._buffer = written
        self._magic = int(written[:4].view(np.uint32)[0])
        self._n_streams = n_streams
        self.is_movable = is_movable
        self._start, self._end = 0, n_bytes
        if is_movable:
            self._start = _HEAD.size + _COUNT_BYTES * stream
            self._end = n_bytes - _COUNT_BYTES * (n_streams - 1 - stream)

    @staticmethod
    def room(max_streams: int) -> int:
        """Bytes to leave behind what the library writes, for contexts of up to `max_streams` streams."""
        return _COUNT_BYTES * max_streams

    @property
    def n_bytes(self) -> int:
        return int(self._buffer.nbytes)

    def for_context(self, n_streams: int) -> NDArray[np.uint8]:
        """The state as a context of `n_streams` streams wants it: a view, valid until the next call."""
        if not self.is_movable:
            if n_streams != self._n_streams:
                raise ValueError("this kind of memory cannot be moved to a context of another stream count")
            return self._buffer[: self._end]
        head = self._start - _HEAD.size
        end = self._end + _COUNT_BYTES * (n_streams - 1)
        self._buffer[head : self._start] = np.frombuffer(_HEAD.pack(self._magic, 0, n_streams), np.uint8)
        self._buffer[self._end : end] = 0
        return self._buffer[head:end]

    def fits(self, n_cells: int) -> bool:
        """Whether a stream of so many cells is long enough for it."""
        return (
            not self.is_movable
            or int(self._buffer[self._start : self._start + _COUNT_BYTES].view(np.uint32)[0]) <= n_cells
        )

    def turn_values(self) -> bool:
        """Make it one for a context of the other kind of attention, which has its values in another order. False where it
        cannot be."""
        return self.is_movable and turn(self._buffer[self._start : self._end])

    def first(self, n_cells: int) -> State | None:
        """A copy of its first `n_cells`; None where they cannot be had alone."""
        cells = first_cells(self._buffer[self._start : self._end], n_cells) if self.is_movable else None
        if cells is None:
            return None
        head = np.frombuffer(_HEAD.pack(self._magic, 0, 1), np.uint8)
        room = np.empty(len(self._buffer) - self._end, np.uint8)
        return State(
            np.concatenate([head, cells, room]), len(head) + len(cells), stream=0, n_streams=1, is_movable=True
        )
