"""How many tokens keys and projects used in this calendar month (UTC), for those that may use so many and no more.

What is in the database counts, other servers' too: it is read every minute once anybody has such a limit, and what is
counted here meanwhile is added.
"""

from __future__ import annotations

import time
from collections import Counter

from completionist import ids
from completionist.errors import StorageUnavailable
from completionist.store.usage import UsageBook, UsageQuery

_REFRESH_S = 60


class Months:
    """One per server."""

    def __init__(self, book: UsageBook) -> None:
        self._book = book
        self._month_s = ids.month_s()
        self._before: Counter[tuple[str, str]] = Counter()
        """What was used by when the database was read, by kind (`key` or `project`) and name."""
        self._since: Counter[tuple[str, str]] = Counter()
        self._is_wanted = False
        self._read_s: float | None = None
        """On the monotonic clock. None: what the database says of this month was not read yet."""

    def used(self, kind: str, name: str) -> int:
        """Tokens of a key or a project."""
        self._is_wanted = True
        self._begin_month()
        return self._before[kind, name] + self._since[kind, name]

    def add(self, key: str, project: str, n_tokens: int) -> None:
        self._begin_month()
        self._since["key", key] += n_tokens
        self._since["project", project] += n_tokens

    async def refresh(self) -> None:
        """Read the database where it is time to; everything that was counted here must have been written to it."""
        self._begin_month()
        if not self._is_wanted or (self._read_s is not None and time.monotonic() - self._read_s < _REFRESH_S):
            return
        since, self._since = self._since, Counter()
        try:
            found = await self._book.report(UsageQuery(since=self._month_s, by=("project", "key")))
        except StorageUnavailable:
            self._since += since
            return
        self._read_s = time.monotonic()
        self._before = Counter()
        for totals in found:
            n_tokens = totals.counts.input_tokens + totals.counts.output_tokens
            self._before["key", totals.key or ""] += n_tokens
            self._before["project", totals.project or ""] += n_tokens

    def _begin_month(self) -> None:
        """Or one that was there before, where the clock is set back."""
        if (month_s := ids.month_s()) != self._month_s:
            self._month_s, self._before, self._since, self._read_s = month_s, Counter(), Counter(), None
