"""One engine worker process and the connection to it, from its start to its end."""

from __future__ import annotations

import asyncio
import logging
import signal
import subprocess
from collections.abc import Callable
from typing import Any, cast

import msgspec

from completionist.engine.frames import (
    Command,
    LoadFailed,
    Ping,
    Ready,
    Report,
    Splitter,
    Stats,
    Step,
    frame,
)
from completionist.engine.launch import Spawned

_log = logging.getLogger(__name__)

_EXIT_GRACE_S = 2.0
_LOAD_DEADLINE_S = 1800.0
"""A model of many gigabytes on a slow disk; beyond this the worker hangs."""


class WorkerProcess(asyncio.Protocol):
    """Sends commands, hands every `Step` to `spread`. Used once: loaded, watch, end."""

    def __init__(self, process: subprocess.Popen[bytes], spread: Callable[[Step], None]) -> None:
        loop = asyncio.get_running_loop()
        self._process = process
        self._spread = spread
        self._loaded: asyncio.Future[Ready | LoadFailed | None] = loop.create_future()
        self._lost: asyncio.Future[None] = loop.create_future()
        self._splitter = Splitter()
        self._decoder: msgspec.msgpack.Decoder[Report] = msgspec.msgpack.Decoder(Report)
        self._transport: asyncio.Transport | None = None
        self._n_reports = 0
        self.is_ready = False
        self.stats = Stats()

    @classmethod
    async def watched(cls, spawned: Spawned, spread: Callable[[Step], None]) -> WorkerProcess:
        """Take the connection over."""
        spawned.connection.setblocking(False)
        loop = asyncio.get_running_loop()
        _, worker = await loop.create_unix_connection(lambda: cls(spawned.process, spread), sock=spawned.connection)
        return worker

    @property
    def pid(self) -> int:
        return self._process.pid

    async def loaded(self) -> Ready | LoadFailed | None:
        """What came of the order to load; None where the worker died or hung over it."""
        outcomes: set[asyncio.Future[Any]] = {self._loaded, self._lost}
        await asyncio.wait(outcomes, timeout=_LOAD_DEADLINE_S, return_when=asyncio.FIRST_COMPLETED)
        return self._loaded.result() if self._loaded.done() else None

    async def obituary(self) -> str:
        """How a worker that never answered its order was lost."""
        if not self._lost.done():
            return f"it had not loaded it after {_LOAD_DEADLINE_S:g} s"
        status = await asyncio.to_thread(self._reap)
        if status >= 0:
            return f"it ended with status {status}"
        name = signal.Signals(-status).name
        return f"it was ended by {name}{', as where memory runs out' if name == 'SIGKILL' else ''}"

    async def watch(self, hang_after_s: float) -> str:
        """Returns how the worker was lost: its connection ended, or it reported nothing for `hang_after_s` seconds."""
        while not self._lost.done():
            n_before = self._n_reports
            self.send(Ping())
            await asyncio.wait({self._lost}, timeout=hang_after_s)
            if self._n_reports == n_before and not self._lost.done():
                self._process.kill()
                return f"it had not reported for {hang_after_s:g} s"
        return "it died"

    async def end(self) -> None:
        """Close the connection, which ends a healthy worker, and kill one that does not go. Reaps the process."""
        self.is_ready = False
        if self._transport:
            self._transport.abort()
        status = await asyncio.to_thread(self._reap)
        _log.info("the engine worker (pid %d) ended with status %d", self.pid, status)

    def _reap(self) -> int:
        try:
            return self._process.wait(_EXIT_GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def send(self, command: Command) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame(command))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        for body in self._splitter.feed(data):
            self._n_reports += 1
            report = self._decoder.decode(body)
            if isinstance(report, Step):
                self.stats = report.stats
                self._spread(report)
            else:
                self.is_ready = isinstance(report, Ready)
                self._loaded.set_result(report)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's signature
        self.is_ready = False
        if not self._lost.done():
            self._lost.set_result(None)
