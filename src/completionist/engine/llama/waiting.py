"""Requests that wait for streams, and who is next.

Tiers come first, but a request climbs one tier for every minute that it waits, so that nothing starves. Within a tier,
the project that has the fewest sequences running is next, in it the request with the fewest choices running, then whoever
came first. One project may fill three quarters
of the queue, and flex requests half of it: the rest is for others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from completionist.engine.base import Tier
from completionist.engine.llama.sequence import Request

AGEING_S = 60.0
_RANKS: dict[Tier, int] = {"priority": 0, "default": 1, "flex": 2}


class WaitingRoom:
    """A bounded queue."""

    def __init__(self, max_waiting: int) -> None:
        self._max_waiting = max_waiting
        self._requests: list[Request] = []

    def __len__(self) -> int:
        return len(self._requests)

    def has_room(self, project: str, n_streams_free: int, tier: Tier = "default", coming: Sequence[str] = ()) -> bool:
        """Whether one more may wait; those that free streams will take at once do not count. `coming` are the projects of
        requests that are being prepared: each has its place already."""
        projects = [request.project for request in self._requests] + list(coming)
        n_all, n_own = len(projects), projects.count(project)
        share = self._max_waiting - self._max_waiting // 4
        bound = self._max_waiting // 2 if tier == "flex" else self._max_waiting
        return n_all < bound + n_streams_free and n_own < share + n_streams_free

    def add(self, request: Request) -> None:
        self._requests.append(request)

    def discard(self, request: Request) -> None:
        if request in self._requests:
            self._requests.remove(request)

    def n_choices(self) -> int:
        """Sequences that these requests will become."""
        return sum(len(request.choices_waiting) for request in self._requests)

    def in_order(self, now_s: float, running: Counter[str]) -> list[Request]:
        """Everyone who waits, next first; `running` counts the sequences of each project."""
        return sorted(
            self._requests,
            key=lambda request: (
                _rank(request, now_s),
                running[request.project],
                len(request.running),
                request.arrived_s,
                request.id,
            ),
        )


def _rank(request: Request, now_s: float) -> int:
    return _RANKS[request.tier] - int((now_s - request.arrived_s) / AGEING_S)
