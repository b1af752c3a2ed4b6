"""The event stream of an answer (contract, sections 6.1 and 6.11)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import Send

CONTENT_TYPE = b"text/event-stream; charset=utf-8"

_DONE = b"data: [DONE]\n\n"
_KEEP_ALIVE = b": keep-alive\n\n"


class EventStream:
    """Writes frames behind a status line that is already out. End it with `finish` or `fail`, once."""

    def __init__(self, send: Send) -> None:
        self.n_events = 0
        self._send = send

    async def event(self, json: bytes) -> None:
        """`json` is on one line. Waits while the connection has more unread bytes than its buffer holds."""
        self.n_events += 1
        await self._send({"type": "http.response.body", "body": b"data: %b\n\n" % json, "more_body": True})

    async def finish(self) -> None:
        """The answer is complete."""
        await self._send({"type": "http.response.body", "body": _DONE})

    async def fail(self, json: bytes) -> None:
        """One error event, and no more."""
        await self._send({"type": "http.response.body", "body": b"data: %b\n\n%b" % (json, _DONE)})

    async def comment(self) -> None:
        """Nothing, so that nobody on the way takes the connection for dead."""
        await self._send({"type": "http.response.body", "body": _KEEP_ALIVE, "more_body": True})

    @asynccontextmanager
    async def kept_alive(self, interval_s: float) -> AsyncIterator[None]:
        """Meanwhile send a comment whenever there was no event for `interval_s` to twice as long."""
        task = asyncio.create_task(self._comment_on_silence(interval_s))
        try:
            yield
        finally:
            task.cancel()

    async def _comment_on_silence(self, interval_s: float) -> None:
        while True:
            n_events = self.n_events
            await asyncio.sleep(interval_s)
            if self.n_events == n_events:
                await self.comment()
