"""The KV streams of one context and who holds them.

Rows decode fast only while their stream ids are consecutive, so ids are kept dense: a newcomer takes the lowest free one.
"""

from __future__ import annotations

import heapq

from completionist.engine.llama.sequence import Sequence


class Streams:
    """Stream ids 0 … n - 1; each is free or held by one sequence."""

    def __init__(self, n_streams: int) -> None:
        self._free = list(range(n_streams))
        self._holders: dict[int, Sequence] = {}

    @property
    def n_free(self) -> int:
        return len(self._free)

    def holders(self) -> list[Sequence]:
        """Sequences by ascending stream id, the order of every batch."""
        return [self._holders[stream] for stream in sorted(self._holders)]

    def take(self, sequence: Sequence) -> int:
        """Give the lowest free stream to `sequence`; there must be one."""
        stream = heapq.heappop(self._free)
        self._holders[stream] = sequence
        sequence.stream = stream
        return stream

    def release(self, sequence: Sequence) -> int:
        """The stream that `sequence` held is free again."""
        stream = sequence.stream
        del self._holders[stream]
        heapq.heappush(self._free, stream)
        sequence.stream = -1
        return stream
