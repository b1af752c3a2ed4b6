"""Second models for servers of tests: scripts whose loading a test holds back, counts or lets fail."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable
from typing import Any

import msgspec

from completionist.engine.launch import Beside
from completionist.engine.scripted import CARD, Script, ScriptedEngine, friendly
from completionist.errors import OperatorError
from completionist.registry.model import Model, Running
from completionist.settings import ServedSettings
from completionist.stock import running
from tests.support import raw
from tests.support.server import RunningServer


class Second:
    """A model called `name`; it is here as long as `is_here`."""

    def __init__(self, name: str = "second", *, script: Script = friendly, keep_alive_s: float = math.inf) -> None:
        self.name = name
        self.keep_alive_s = keep_alive_s
        self.need_bytes = 0
        self.version = 1
        self.is_here = True
        self.reason: str | None = None
        """Why it cannot be loaded."""
        self.may_load = threading.Event()
        self.may_load.set()
        self.n_loads = 0
        """Begun."""
        self.beside: list[Beside] = []
        """What the server did at the beginning of each."""
        self.engine: ScriptedEngine
        self._script = script

    def model(self) -> Model:
        return Model(
            name=self.name,
            version=self.version,
            created=1,
            owned_by="tests",
            keep_alive_s=self.keep_alive_s,
            need_bytes=self.need_bytes,
            start=self._start,
        )

    async def _start(self, beside: Beside) -> Running:
        self.n_loads += 1
        self.beside.append(beside)
        await asyncio.to_thread(self.may_load.wait, 60)
        if self.reason is not None:
            raise OperatorError(self.reason)
        self.engine = ScriptedEngine(self._script, card=msgspec.structs.replace(CARD, name=self.name))
        return await running(self.engine, ServedSettings())


def those_here(*seconds: Second) -> Callable[[], list[Model]]:
    """What a server finds."""
    return lambda: [second.model() for second in seconds if second.is_here]


def loaded(server: RunningServer) -> dict[str, dict[str, Any]]:
    """What the server has in memory, by name, as `ps` asks for it."""
    answer = raw.send(server.port, raw.request("GET", "/admin/models"))
    return {one["name"]: one for one in raw.json_of(answer)["data"]}
