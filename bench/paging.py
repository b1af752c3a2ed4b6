"""Reads every page of the stored completions behind a URL, as clients do one after another: `python -m bench.paging URL`."""

from __future__ import annotations

import asyncio
import sys

from completionist.settings import StoreSettings
from completionist.store.base import Filters, Page
from completionist.store.sql.store import SqlStore
from completionist.types.caller import DEFAULT_PROJECT

_MAX_ITEMS = 100
"""As many as one page may have."""


async def main(url: str) -> None:
    store = SqlStore(StoreSettings(url=url, retention_days=0))
    await store.start()
    after = None
    while True:
        found = await store.list(DEFAULT_PROJECT, Filters(), Page(after=after, limit=_MAX_ITEMS))
        if not found.has_more:
            break
        after = found.items[-1].id
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
