"""Whose turn it is where only one can be served at a time: projects in turn, so that none waits for all of another's."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque


class Turns:
    """`begin`, then `end` from any callback of the loop. A project's own requests keep their order."""

    def __init__(self, *, patience_s: float) -> None:
        self._patience_s = patience_s
        self._is_taken = False
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    async def begin(self, project: str) -> None:
        """Wait for a turn. Raises `TimeoutError` where none comes in time."""
        if not self._is_taken:
            self._is_taken = True
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(project, deque()).append(turn)
        try:
            async with asyncio.timeout(self._patience_s):
                await turn
        except BaseException:
            if turn.done() and not turn.cancelled():  # it came at the very moment of leaving
                self.end()
            raise

    def end(self) -> None:
        """Give the turn to the next who still waits."""
        while self._waiting:
            project, turns = self._waiting.popitem(last=False)
            turn = turns.popleft()
            if turns:
                self._waiting[project] = turns
            if not turn.done():
                turn.set_result(None)
                return
        self._is_taken = False
