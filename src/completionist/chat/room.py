"""How many requests of one model may be under way: as many as its streams take, and a bounded number that waits.

Judged here, in the process that was asked: the engine looks at what came between two steps only, and a refusal must not
wait for a step. The rules are those of its waiting room: flex requests may fill half of the queue, one project three
quarters of it, and one key three quarters of that.

Who is refused hears when to come again: not before much of the queue can have gone, and not together with all others who were
refused at the same moment. A fixed second let hundreds of clients come back in one herd, each time.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from completionist.errors import FlexUnavailable, Overloaded
from completionist.types.caller import Caller, ServiceTier

_MAX_RETRY_AFTER_S = 20.0
"""Before it is spread. Clients give up after a few tries: none of these may be so far away that nobody waits for it."""
_SPREAD = (0.5, 1.5)
_LAST_ONES = 8
"""Requests whose pace counts."""


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
            self._room.pace.beat()
            self._room.count(self._caller, n_waiting=-1, n_running=self._n_choices)

    def leave(self) -> None:
        if self._waits:
            self._room.count(self._caller, n_waiting=-1, n_running=0)
        else:
            self._room.count(self._caller, n_waiting=0, n_running=-self._n_choices)


class Pace:
    """How fast one thing follows another, lately."""

    def __init__(self) -> None:
        self.interval_s = 0.0
        """Between two; 0 where it is not known."""
        self._at_s: float | None = None

    def beat(self) -> None:
        """One more."""
        now_s = time.monotonic()
        if self._at_s is not None:
            since_s = now_s - self._at_s
            share = 1 / _LAST_ONES if self.interval_s else 1.0
            self.interval_s += share * (since_s - self.interval_s)
        self._at_s = now_s

    def pause(self) -> None:
        """Nothing is waiting to follow."""
        self._at_s = None


class Room:
    """The requests of one model, and those whose texts it judges."""

    def __init__(self, max_waiting: int) -> None:
        self.pace = Pace()
        """At which waiting requests begin."""
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
            raise FlexUnavailable() if tier == "flex" else Overloaded(retry_after_s=self._retry_after_s())
        self.count(caller, n_waiting=1, n_running=0)
        place = Place(self, caller, n_choices)
        try:
            yield place
        finally:
            place.leave()

    def _retry_after_s(self) -> float:
        """When half of what waits has begun, or about then."""
        until_half_s = self.pace.interval_s * self._n_waiting / 2
        return random.uniform(*_SPREAD) * min(_MAX_RETRY_AFTER_S, until_half_s)  # noqa: S311 (only to be spread)

    def count(self, caller: Caller, *, n_waiting: int, n_running: int) -> None:
        """Changes of what waits and of what runs."""
        self._n_waiting += n_waiting
        self._n_running += n_running
        if not self._n_waiting:
            self.pace.pause()
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
