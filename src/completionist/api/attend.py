"""Work for a client who may leave, in a server that may be told to stop.

An answer runs as a task of its own beside a watch on the connection: whichever ends first decides. Leaving cancels the
work at once, streamed or not; so does the deadline of a shutdown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.types import Message, Receive

from completionist.errors import ShuttingDown

T = TypeVar("T")


class ClientGone(Exception):
    """The client closed the connection before its answer was complete. Nobody is left to be told."""


class Drain:
    """The end of a server: first no new work, then no work at all."""

    def __init__(self) -> None:
        self.is_draining = False
        self.is_expired = False
        self._work: set[asyncio.Task[Any]] = set()

    def begin(self) -> None:
        """Answers under way go on; new ones are refused. Idempotent."""
        self.is_draining = True

    def expire(self) -> None:
        """Cut off the answers that are still under way: each ends with `ShuttingDown`."""
        self.is_draining = self.is_expired = True
        for task in self._work:
            task.cancel()

    async def attend(self, work: Coroutine[Any, Any, T], receive: Receive | None) -> T:
        """The result of `work`. Raises what it raises, `ClientGone` or `ShuttingDown`; either way it is over then.

        `receive` None: `work` is still receiving, and sees for itself when the client leaves.
        """
        task = asyncio.create_task(work)
        watch = asyncio.create_task(_departure(receive or _silence))
        self._work.add(task)
        try:
            await asyncio.wait((task, watch), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise ClientGone
            if task.cancelled():
                raise ShuttingDown
            return task.result()
        finally:
            self._work.discard(task)
            await _cancelled(task, watch)


async def _silence() -> Message:
    never: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
    return await never


async def _departure(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _cancelled(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
