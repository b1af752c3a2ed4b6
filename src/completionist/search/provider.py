"""Searches the index of documents, on threads of its own."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from completionist.chat.search import Query, Source
from completionist.errors import SearchUnavailable
from completionist.log import emit
from completionist.search.index import IndexUnusable, find

_log = logging.getLogger(__name__)

_THREADS = 2


class IndexSearch:
    """A `SearchProvider`."""

    def __init__(self, file: Path, *, timeout_s: float) -> None:
        self._file = file
        self._timeout_s = timeout_s
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="search")
        self.missing = None if file.is_file() else "There is no index of documents on this server yet."

    async def search(self, query: Query) -> Sequence[Source]:
        deadline_s = time.monotonic() + self._timeout_s
        searching = asyncio.get_running_loop().run_in_executor(self._threads, find, self._file, query, deadline_s)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await searching
        except IndexUnusable as error:
            reason = str(error)
        except TimeoutError:
            reason = "no answer in time"
        emit(_log, logging.WARNING, "the index of documents gave no results", reason=reason)
        raise SearchUnavailable

    async def close(self) -> None:
        await asyncio.to_thread(self._threads.shutdown)
