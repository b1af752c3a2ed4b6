"""Where the events of one request wait for their reader."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from completionist.engine.base import Accepted, End, Evaluated, Failed, Token, TokenEvent


class Mailbox:
    """A `Generation`: events are put in by the step, however many at a time, and taken out at the reader's own pace.

    A reader that waits is woken once; one that is slow finds everything at once and is not woken at all.
    """

    def __init__(self, *, n_choices: int, stop: Callable[[int], None], cancel: Callable[[], None]) -> None:
        self._n_open = n_choices
        self._stop = stop
        self._cancel = cancel
        self._events: deque[TokenEvent] = deque()
        self._reader: asyncio.Future[None] | None = None
        self.was_accepted = False
        self.is_complete = False
        """Every choice has ended, or the request failed or was cancelled: nothing more will come."""

    def deliver(self, event: TokenEvent) -> None:
        """Put one event in."""
        self._events.append(event)
        match event:
            case Token() | Evaluated():
                pass
            case Accepted():
                self.was_accepted = True
            case End():
                self._n_open -= 1
                self.is_complete = self._n_open == 0
            case Failed():
                self.is_complete = True
        self._wake()

    def stop(self, index: int) -> None:
        """This choice hit a stop string."""
        if not self.is_complete:
            self._stop(index)

    def cancel(self) -> None:
        """Drop the request; events that nobody has read yet are dropped too."""
        if not self.is_complete:
            self._cancel()
        self.is_complete = True
        self._events.clear()
        self._wake()

    def __aiter__(self) -> Mailbox:
        return self

    async def __anext__(self) -> TokenEvent:
        while not self._events:
            if self.is_complete:
                raise StopAsyncIteration
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        return self._events.popleft()

    def take(self) -> list[TokenEvent]:
        """Everything that is there."""
        events = list(self._events)
        self._events.clear()
        return events

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
