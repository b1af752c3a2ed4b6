"""Which delta may go onto a stream when the opening chunk of a choice has to wait for what the choice says first.

A chunk that opens a choice says whether it begins with text or with a call (contract 6.6), and choices appear in ascending
order (6.3). So a choice is open from its first content on, and what a later one says meanwhile is held until its turn.
"""

from __future__ import annotations

from collections import defaultdict

from completionist.chat.deltas import Delta, Judged, Opened, Totals


class InOrder:
    """Feed deltas as they come, take them as they may be written: nothing is lost, the order within a choice is kept."""

    def __init__(self) -> None:
        self._n_open = 0
        self._held: defaultdict[int, list[Delta]] = defaultdict(list)

    def feed(self, delta: Delta) -> list[Delta]:
        """What may be written now. `Opened` is not among it: the first of a choice's other deltas opens it."""
        if isinstance(delta, Opened):
            return []
        if isinstance(delta, Judged | Totals) or delta.index < self._n_open:
            return [delta]
        self._held[delta.index].append(delta)
        ready: list[Delta] = []
        while self._n_open in self._held:
            ready += self._held.pop(self._n_open)
            self._n_open += 1
        return ready
