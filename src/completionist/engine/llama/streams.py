"""The KV streams of one context: who holds them, and what the free ones still contain.

Rows decode fast only while the ids of their streams are consecutive, so a newcomer gets a hole between the ids in use,
or a neighbour of them.
"""

from __future__ import annotations

from completionist.engine.llama.prefixes import Entry
from completionist.engine.llama.runner import Context
from completionist.engine.llama.sequence import Sequence


class Streams:
    """Stream ids 0 … n - 1 of `context`; each is held by one sequence, or free: empty or with an entry left behind."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.left_behind: dict[int, Entry] = {}
        self._free = set(range(context.n_streams))
        self._holders: dict[int, Sequence] = {}

    @property
    def n_free(self) -> int:
        return len(self._free)

    @property
    def capacity_tokens(self) -> int:
        """Cells of one stream."""
        return self.context.stream_tokens

    def holders(self) -> list[Sequence]:
        """Sequences by ascending stream id, the order of every batch."""
        return [self._holders[stream] for stream in sorted(self._holders)]

    def candidates(self) -> list[int]:
        """Free streams that a newcomer may take, best first: holes, then neighbours of the ids in use, empty ones before
        those that hold something, and of these the one that was not used for longest."""
        if not self._holders:
            return sorted(self._free, key=self._preference)
        low, high = min(self._holders), max(self._holders)
        holes = [stream for stream in self._free if low < stream < high]
        neighbours = [stream for stream in (high + 1, low - 1) if stream in self._free]
        return sorted(holes, key=self._preference) + sorted(neighbours, key=self._preference)

    def better_place(self) -> tuple[Sequence, int] | None:
        """Whom to move, and to which stream, so that those that generate lie closer together, or else so that a hole is
        closed; None where there is nothing to gain. The stream may be held by a prompt under way, which changes places then.
        """
        decoding = sorted(stream for stream, one in self._holders.items() if one.is_decoding)
        between = sorted(set(range(decoding[0], decoding[-1])).difference(decoding)) if decoding else []
        if not between:
            return self._closing_move()
        low, first, last, high = decoding[0], between[0], between[-1], decoding[-1]
        if high - last <= first - low:  # from the shorter run at the ends to the longer
            return self._holders[high], first
        return self._holders[low], last

    def _closing_move(self) -> tuple[Sequence, int] | None:
        if not self._holders:
            return None
        low, high = min(self._holders), max(self._holders)
        hole = min((stream for stream in self._free if low < stream < high), default=None)
        return None if hole is None else (self._holders[high], hole)

    def holder(self, stream: int) -> Sequence | None:
        """Who has it; None where it is free."""
        return self._holders.get(stream)

    def take(self, sequence: Sequence, stream: int) -> None:
        """Give a free stream to `sequence`."""
        self._free.remove(stream)
        self._holders[stream] = sequence
        sequence.pool, sequence.stream = self, stream

    def release(self, sequence: Sequence) -> int:
        """The stream that `sequence` held is free again."""
        stream = sequence.stream
        del self._holders[stream]
        self._free.add(stream)
        sequence.pool, sequence.stream = None, -1
        return stream

    def _preference(self, stream: int) -> tuple[int, int]:
        entry = self.left_behind.get(stream)
        return (entry.last_used if entry else 0, stream)
