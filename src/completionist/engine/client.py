"""The API process's side of an engine worker: `EngineClient` is a `TokenEngine` whose engine may die.

It starts the worker, hands prompts over, spreads the events of each step to the readers of their requests, and starts
the worker again when it is lost: at once the first time, then after pauses that double. Requests that were under way end
in `WorkerLost`, and so do those that come while there is no worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging

from completionist.engine.base import Failed, ModelCard, Prompt, WorkerLost
from completionist.engine.frames import Cancel, Ready, Rest, Stats, Step, Stop, Submit
from completionist.engine.launch import Launch, Spawned, spawn
from completionist.engine.mailbox import Mailbox
from completionist.engine.process import WorkerProcess
from completionist.errors import OperatorError

_log = logging.getLogger(__name__)

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_SHORTEST_RETRY_S = 1.0
_STEADY_AFTER_S = 60.0
"""A worker that ran this long without a fault is not part of a crash loop."""


class EngineStartFailed(OperatorError):
    """The first load failed; there is nothing to supervise."""


class EngineClient:
    """One worker, supervised. `start` before use; afterwards `card` is known and stays known."""

    def __init__(self, launch: Launch, *, spawned: Spawned | None = None, hang_after_s: float = 120.0) -> None:
        """`spawned` is the first worker, where it has been started already."""
        self._launch = launch
        self._spawned = spawned
        self._hang_after_s = hang_after_s
        self._ids = itertools.count(1)
        self._mailboxes: dict[int, Mailbox] = {}
        self._card: ModelCard | None = None
        self._worker: WorkerProcess | None = None
        self._supervision: asyncio.Task[None] | None = None
        self._retry_after_s = _SHORTEST_RETRY_S
        self._load_s = 0.0
        self._last_fault = ""
        self.restarts = 0
        """Workers started after the first."""

    @property
    def card(self) -> ModelCard:
        if self._card is None:
            raise RuntimeError("the engine has not been started")
        return self._card

    @property
    def is_ready(self) -> bool:
        return self._worker is not None and self._worker.is_ready

    @property
    def pid(self) -> int | None:
        """The worker's process id; None while there is none."""
        return self._worker.pid if self._worker else None

    @property
    def stats(self) -> Stats:
        """As of the last step; zeros while no worker is ready."""
        return self._worker.stats if self._worker else Stats()

    async def start(self) -> None:
        """Load the model. Raises `EngineStartFailed` with the reason, as one line for the operator."""
        first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._supervision = asyncio.create_task(self._supervise(first))
        try:
            await first
        except BaseException:
            await self.close()
            raise

    def submit(self, prompt: Prompt) -> Mailbox:
        """Hand a prompt over. Never blocks, never raises: a fault is the first event."""
        request_id = next(self._ids)
        mailbox = Mailbox(
            n_choices=prompt.n,
            stop=lambda index: self._stop(request_id, index),
            cancel=lambda: self._cancel(request_id),
        )
        if self._worker is None or not self._worker.is_ready:
            mailbox.deliver(Failed(WorkerLost(self._retry_after_s, started=False)))
        else:
            self._mailboxes[request_id] = mailbox
            self._worker.send(Submit(request_id, prompt))
        return mailbox

    def rest(self, *, is_wanted: bool) -> None:
        """Let another model be loaded beside this one's steps, or no longer."""
        if self._worker is not None and self._worker.is_ready:
            self._worker.send(Rest(is_wanted))

    async def close(self) -> None:
        """Stop the worker; requests under way end in `WorkerLost`."""
        if self._supervision:
            self._supervision.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervision
            self._supervision = None

    def _stop(self, request_id: int, index: int) -> None:
        if request_id in self._mailboxes and self._worker:
            self._worker.send(Stop(request_id, index))

    def _cancel(self, request_id: int) -> None:
        if self._mailboxes.pop(request_id, None) and self._worker:
            self._worker.send(Cancel(request_id))

    def _spread(self, step: Step) -> None:
        """Put every event into its request's mailbox. A mailbox wakes its reader once, however many events come."""
        for request_id, event in step.events:
            mailbox = self._mailboxes.get(request_id)
            if mailbox is not None:
                mailbox.deliver(event)
                if mailbox.is_complete:
                    del self._mailboxes[request_id]

    async def _supervise(self, first: asyncio.Future[None]) -> None:
        """One worker after another. The very first load decides whether `start` succeeds."""
        pause_s = 0.0
        while True:
            lived_s = await self._one_life(first)
            if not first.done():
                first.set_exception(EngineStartFailed(self._last_fault))
                return
            pause_s = 0.0 if lived_s > _STEADY_AFTER_S else pause_s
            _log.error("the engine worker was lost (%s); starting another in %.1f s", self._last_fault, pause_s)
            self._retry_after_s = max(_SHORTEST_RETRY_S, pause_s + self._load_s)
            await asyncio.sleep(pause_s)
            pause_s = min(_LONGEST_PAUSE_S, max(_FIRST_PAUSE_S, 2 * pause_s))
            self.restarts += 1

    async def _one_life(self, first: asyncio.Future[None]) -> float:
        """Start a worker and watch it until it is lost; returns how long it served, in seconds."""
        loop = asyncio.get_running_loop()
        started = ready = loop.time()
        spawned, self._spawned = self._spawned, None
        if spawned is None:
            spawned = await asyncio.to_thread(spawn, self._launch)
        worker = await WorkerProcess.watched(spawned, self._spread)
        self._worker = worker
        try:
            loaded = await worker.loaded()
            ready = loop.time()
            if isinstance(loaded, Ready):
                self._load_s = ready - started
                self._retry_after_s = max(_SHORTEST_RETRY_S, self._load_s)
                self._card = loaded.card
                if not first.done():
                    first.set_result(None)
                self._last_fault = await worker.watch(self._hang_after_s)
            else:
                self._last_fault = loaded.reason if loaded else await self._died_loading(worker)
        finally:
            self._worker = None
            self._fail_all()
            await worker.end()
        return loop.time() - ready

    async def _died_loading(self, worker: WorkerProcess) -> str:
        return (
            f"the engine worker died over {self._launch.load.model_path} ({await worker.obituary()}): "
            "is the file whole, and is there memory for it?"
        )

    def _fail_all(self) -> None:
        lost, self._mailboxes = self._mailboxes, {}
        for mailbox in lost.values():
            mailbox.deliver(Failed(WorkerLost(self._retry_after_s, started=mailbox.was_accepted)))
