"""Requests that wait for streams, and who is next.

Tiers come first, but requests climb one tier for every minute in which nothing of their key and tier was started, so that
nothing starves, and a key that floods gains nothing by the length of its queue. Within a tier, the project that has the
fewest sequences running is next, in it the key with the fewest, then the request with the fewest choices running, then
whoever came first. One project may fill three quarters of the queue, and flex requests half of it: the rest is for others.

Nobody takes the last free stream while somebody else, who holds none, is still asking: one who asks one thing at a time
finds it free, however much others ask for. And nobody who holds more streams than somebody else who is asking gets a short
one, of which there are many more for bursts.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from completionist.engine.base import Tier
from completionist.engine.llama.sequence import Account, Request

AGEING_S = 60.0
ASKING_S = 10.0
"""So long after a request, or after an answer, its key is taken to be still asking."""
_RANKS: dict[Tier, int] = {"priority": 0, "default": 1, "flex": 2}


class WaitingRoom:
    """A bounded queue."""

    def __init__(self, max_waiting: int) -> None:
        self._max_waiting = max_waiting
        self._requests: list[Request] = []
        self._started_s: dict[tuple[Account, Tier], float] = {}
        self._seen_s: dict[Account, float] = {}

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
        self.sees(request.account, request.arrived_s)

    def discard(self, request: Request) -> None:
        if request in self._requests:
            self._requests.remove(request)

    def n_choices(self) -> int:
        """Sequences that these requests will become."""
        return sum(len(request.choices_waiting) for request in self._requests)

    def in_order(self, now_s: float, running: Counter[Account]) -> list[Request]:
        """Everyone who waits, next first; `running` counts the sequences of each key."""
        by_project: Counter[str] = Counter()
        for (project, _), n_running in running.items():
            by_project[project] += n_running
        return sorted(
            self._requests,
            key=lambda request: (
                self._rank(request, now_s),
                by_project[request.project],
                running[request.account],
                len(request.running),
                request.arrived_s,
                request.id,
            ),
        )

    def leaves_room(self, request: Request, n_free: int, running: Counter[Account], now_s: float) -> bool:
        """Whether `request` may take one of the `n_free` streams where it belongs."""
        if n_free > 1 or not running[request.account]:
            return True
        return all(running[account] for account in self._others(request, now_s))

    def may_have_short(self, request: Request, running: Counter[Account], now_s: float) -> bool:
        """Whether `request` may have a short stream: steps take longer by each, also for those who ask for less."""
        return all(running[account] >= running[request.account] for account in self._others(request, now_s))

    def _others(self, request: Request, now_s: float) -> list[Account]:
        """Other keys that are asking."""
        asking = (account for account, seen_s in self._seen_s.items() if now_s - seen_s < ASKING_S)
        return [account for account in asking if account != request.account]

    def starts(self, request: Request, now_s: float) -> None:
        """One of its choices gets a stream."""
        self._started_s = {one: at_s for one, at_s in self._started_s.items() if now_s - at_s < AGEING_S}
        self._started_s[request.account, request.tier] = now_s

    def sees(self, account: Account, now_s: float) -> None:
        """It asks, or was just answered."""
        self._seen_s = {one: seen_s for one, seen_s in self._seen_s.items() if now_s - seen_s < ASKING_S}
        self._seen_s[account] = now_s

    def _rank(self, request: Request, now_s: float) -> int:
        last_s = self._started_s.get((request.account, request.tier), -math.inf)
        return _RANKS[request.tier] - int((now_s - max(request.arrived_s, last_s)) / AGEING_S)
