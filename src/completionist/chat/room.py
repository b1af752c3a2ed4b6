"""How many requests of one model may be under way: as many as its streams take, and a bounded number that waits.

Judged here, in the process that was asked: the engine looks at what came between two steps only, and a refusal must not
wait for a step. The rules are those of its waiting room: flex requests may fill half of the queue, one project three
quarters of it, and one key three quarters of that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from completionist.errors import FlexUnavailable, Overloaded
from completionist.types.caller import Caller, ServiceTier


class Place:
    """Of one request: it waits until its answer begins."""

    def __init__(self, room: Room, caller: Caller, n_choices: int) -> None:
        self._room = room
        self._caller = caller
        self._n_choices = n_choices
        self._waits = True

    def begin(self) -> None:
        """Streams are held from now on. Idempotent."""
        if self._waits:
            self._waits = False
            self._room.count(self._caller, n_waiting=-1, n_running=self._n_choices)

    def leave(self) -> None:
        if self._waits:
            self._room.count(self._caller, n_waiting=-1, n_running=0)
        else:
            self._room.count(self._caller, n_waiting=0, n_running=-self._n_choices)


class Room:
    """The requests of one model, and those whose texts it judges."""

    def __init__(self, max_waiting: int) -> None:
        self._max_waiting = max_waiting
        self._n_waiting = 0
        self._n_running = 0
        self._by_project: Counter[str] = Counter()
        self._by_key: Counter[str] = Counter()

    @contextmanager
    def place(self, caller: Caller, tier: ServiceTier, *, n_choices: int, n_streams: int) -> Iterator[Place]:
        """Hold one for a request. Raises `Overloaded`, `FlexUnavailable`."""
        free = max(0, n_streams - self._n_running)
        share = self._max_waiting - self._max_waiting // 4
        bound = self._max_waiting // 2 if tier == "flex" else self._max_waiting
        if (
            self._n_waiting >= bound + free
            or self._by_project[caller.project] >= share + free
            or (caller.key and self._by_key[caller.key] >= share - share // 4 + free)
        ):
            raise FlexUnavailable if tier == "flex" else Overloaded
        self.count(caller, n_waiting=1, n_running=0)
        place = Place(self, caller, n_choices)
        try:
            yield place
        finally:
            place.leave()

    def count(self, caller: Caller, *, n_waiting: int, n_running: int) -> None:
        """Changes of what waits and of what runs."""
        self._n_waiting += n_waiting
        self._n_running += n_running
        for counter, name in ((self._by_project, caller.project), (self._by_key, caller.key or "")):
            counter[name] += n_waiting
            if not counter[name]:
                del counter[name]


class Rooms:
    """Of all models of a server."""

    def __init__(self, max_waiting: int) -> None:
        """`max_waiting`: how many requests may wait for one model."""
        self._max_waiting = max_waiting
        self._rooms: dict[str, Room] = {}

    def of(self, model: str) -> Room:
        """`model`: its own name."""
        return self._rooms.setdefault(model, Room(self._max_waiting))
