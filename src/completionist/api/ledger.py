"""Counts what was run, for whom, and hands it to the database every few seconds.

A stop writes what is left. A crash loses what was counted since the last batch, and nothing else. While the database is
gone, counting goes on here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from itertools import islice

from completionist import ids
from completionist.api.months import Months
from completionist.errors import StorageUnavailable
from completionist.log import emit
from completionist.store.usage import DAY_S, Counts, UsageBook, UsageOf
from completionist.types.caller import Caller
from completionist.types.completion import Usage

_logger = logging.getLogger(__name__)

BATCH_S = 5.0
"""Between two batches: what a crash may lose."""
_BATCH_ROWS = 500
"""In one transaction."""
_MAX_WAITING = 50_000
"""Sums kept here while the database is gone. Beyond it, end users are no longer told apart."""


class Ledger:
    """One per server. `start` it, and `close` it at the end, before the database."""

    def __init__(self, book: UsageBook) -> None:
        self._book = book
        self._sums: dict[UsageOf, Counts] = {}
        self._writing: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self.months = Months(book)

    def start(self) -> None:
        self._writing = asyncio.create_task(self._write_for_ever())

    async def close(self) -> None:
        self._closing.set()
        if self._writing is not None:
            await self._writing
        if self._sums:
            emit(_logger, logging.ERROR, "usage is lost: the database takes nothing", rows=len(self._sums))

    def add(self, caller: Caller, *, model: str, served_model: str, end_user: str | None, usage: Usage) -> None:
        """One answer."""
        now_s = ids.now_s()
        of = UsageOf(
            day=now_s - now_s % DAY_S,
            project=caller.project,
            key=caller.key or "",
            model=model,
            served_model=served_model,
            end_user=(end_user or "") if len(self._sums) < _MAX_WAITING else "",
        )
        counts = Counts(
            requests=1,
            input_tokens=usage.prompt_tokens,
            cached_tokens=usage.prompt_tokens_details.cached_tokens,
            output_tokens=usage.completion_tokens,
            reasoning_tokens=usage.completion_tokens_details.reasoning_tokens,
        )
        self._put([(of, counts)])
        self.months.add(of.key, of.project, usage.total_tokens)

    async def flush(self) -> None:
        """Write all that was counted, as far as the database takes it."""
        while batch := list(islice(self._sums.items(), _BATCH_ROWS)):
            for of, _ in batch:
                del self._sums[of]
            try:
                await self._book.add(batch)
            except StorageUnavailable:
                self._put(batch)
                return

    def _put(self, rows: Iterable[tuple[UsageOf, Counts]]) -> None:
        for of, counts in rows:
            known = self._sums.get(of)
            self._sums[of] = counts if known is None else known + counts

    async def _write_for_ever(self) -> None:
        while not self._closing.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BATCH_S):
                    await self._closing.wait()
            await self.flush()
            if not (self._sums or self._closing.is_set()):
                await self.months.refresh()
