"""A `TokenEngine` over an engine loop of this process: its steps are taken on the event loop, for models that are tiny."""

from __future__ import annotations

import asyncio
import itertools
from functools import partial

from completionist.engine.base import ModelCard, Prompt
from completionist.engine.llama.loop import Engine
from completionist.engine.mailbox import Mailbox


class InlineEngine:
    """One request at a time."""

    is_ready = True

    def __init__(self, engine: Engine, card: ModelCard) -> None:
        self.card = card
        self._engine = engine
        self._ids = itertools.count(1)
        self._running: set[asyncio.Task[None]] = set()

    def submit(self, prompt: Prompt) -> Mailbox:
        request_id = next(self._ids)
        stop, cancel = partial(self._engine.stop, request_id), partial(self._engine.cancel, request_id)
        mailbox = Mailbox(n_choices=prompt.n, stop=stop, cancel=cancel)
        self._engine.submit(request_id, prompt)
        task = asyncio.get_running_loop().create_task(self._run(mailbox))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return mailbox

    async def close(self) -> None:
        """The loop belongs to who made it."""

    async def _run(self, mailbox: Mailbox) -> None:
        while not mailbox.is_complete:
            for _, event in self._engine.take_events():
                mailbox.deliver(event)
            self._engine.step()
            await asyncio.sleep(0)
