"""All models of a server: `Backends` that loads them when they are asked for and lets go of the least useful.

What is on this machine may change while the server runs: models come and go, aliases are set. It is looked at again when
somebody asks, and the last look is over a second old; a server that nobody asks does nothing.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager

import msgspec

from completionist.chat.deltas import ChatBackend
from completionist.chat.loaded import Loaded
from completionist.chat.service import Served
from completionist.engine.base import ModelCard
from completionist.engine.launch import Beside
from completionist.errors import ModelHasNoRoom, ModelNotFound
from completionist.log import emit
from completionist.metrics import Metrics
from completionist.registry.aliases import Alias
from completionist.registry.model import Model, Running, RunningEngine
from completionist.registry.names import served
from completionist.registry.slot import Reason, Slot

_log = logging.getLogger(__name__)

_STALE_AFTER_S = 1.0
_AS_RECENT_S = 60.0
"""Of models that were last used within so long of each other, the larger one is let go of first."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to serve."""

    models: tuple[Model, ...] = ()
    aliases: tuple[Alias, ...] = ()
    absent: Mapping[str, str] = {}
    """By names that might be known and are not here: what the operator can do, as the end of a sentence."""
    advice: str = ""
    """What the operator can do where there is no model at all."""


class Registry:
    """Refresh it before it is asked for names; `close` it at the end, when nobody is answered any more."""

    def __init__(self, scan: Callable[[], Found], free_bytes: Callable[[int], int], metrics: Metrics) -> None:
        """`scan` looks at this machine, `free_bytes` at its memory, given what the weights of loaded models take of files
        that are in memory; both block, and are called on threads."""
        self._scan = scan
        self._free_bytes = free_bytes
        self._metrics = metrics
        self._found = Found()
        self._slots: dict[str, Slot] = {}
        self._names: dict[str, Served] = {}
        self._complaints: set[str] = set()
        self._looked_at_s = -math.inf
        self._looking = asyncio.Lock()
        self._one_load = asyncio.Lock()

    async def refresh(self) -> None:
        """Look again at what is here, where the last look is too old."""
        if self._is_stale():
            async with self._looking:
                if self._is_stale():
                    try:
                        self._take(await asyncio.to_thread(self._scan))
                    except OSError as error:  # what was known before holds
                        emit(_log, logging.ERROR, "cannot see which models are here", reason=str(error))
                    self._looked_at_s = asyncio.get_running_loop().time()

    def find(self, name: str) -> Served:
        """Raises `ModelNotFound`, which says what the operator can do."""
        if found := self._names.get(name):
            return found
        hint = self._found.absent.get(name, "") or ("" if self._found.models else self._found.advice)
        raise ModelNotFound(name, hint=hint)

    def models(self) -> Sequence[Served]:
        return tuple(self._names.values())

    @property
    def advice(self) -> str:
        """What the operator can do about there being no model at all; empty where there is one."""
        return "" if self._found.models else self._found.advice

    @property
    def is_ready(self) -> bool:
        """Whether requests will be taken, which only a lost engine prevents."""
        running = self._running()
        return not running or any(one.engine.is_ready for one in running)

    def peek(self, name: str) -> ChatBackend | None:
        running = self._slots[self.find(name).model].running
        return running.backend if running else None

    @asynccontextmanager
    async def use(self, name: str) -> AsyncIterator[ChatBackend]:
        """What answers for `name`, loaded for it if need be, and kept meanwhile.

        Raises `ModelNotFound`, `ModelLoadFailed`, `ModelHasNoRoom`.
        """
        async with self._slots[self.find(name).model].used() as running:
            yield running.backend

    async def start(self, name: str) -> ModelCard:
        """Load a model before anybody asks. Raises what loading raises: `OperatorError`, `OSError`."""
        slot = self._slots[name]
        await slot.start()
        if slot.running is None:
            raise RuntimeError("a model that was loaded is not there")
        return slot.running.backend.card

    async def stop(self, model: str) -> None:
        """Let go of the model of this name once it answers nobody, and wait for that."""
        await self._slots[model].let_go("asked")

    def loaded(self) -> list[Loaded]:
        """What is in memory, in the order in which it came."""
        shown = [one for slot in self._slots.values() if (one := _shown(slot))]
        return sorted(shown, key=lambda one: one.loaded_at_s or math.inf)

    async def close(self) -> None:
        await asyncio.gather(*(slot.close() for slot in self._slots.values()))

    def _is_stale(self) -> bool:
        return asyncio.get_running_loop().time() - self._looked_at_s >= _STALE_AFTER_S

    def _take(self, found: Found) -> None:
        self._found = found
        models = {model.name: model for model in found.models}
        for model in found.models:
            if slot := self._slots.get(model.name):
                slot.replace(model)
            else:
                self._slots[model.name] = Slot(model, self._load, self._unloaded)
        for name in self._slots.keys() - models.keys():
            self._slots[name].remove()
            if self._slots[name].state == "absent":
                del self._slots[name]
        self._names = served(models, found.aliases, self._complain)

    def _complain(self, complaint: str) -> None:
        if complaint not in self._complaints:
            self._complaints.add(complaint)
            emit(_log, logging.WARNING, complaint)

    async def _load(self, model: Model) -> Running:
        """One after another: each takes its share of what memory is free."""
        async with self._one_load:
            await self._make_room(model)
            began_s = asyncio.get_running_loop().time()
            try:
                with _resting([one.engine for one in self._running()]) as beside:
                    running = await model.start(beside)
            except BaseException:
                self._metrics.model_loads.labels(model.name, "failed").inc()
                raise
            took_s = asyncio.get_running_loop().time() - began_s
        self._metrics.model_loads.labels(model.name, "loaded").inc()
        self._metrics.watch(running.engine, model.name)
        emit(_log, logging.INFO, "a model is loaded", model=model.name, took_s=round(took_s, 1))
        return running

    def _unloaded(self, model: Model, reason: Reason) -> None:
        self._metrics.unwatch(model.name)
        self._metrics.model_unloads.labels(model.name, reason).inc()
        emit(_log, logging.INFO, "a model is unloaded", model=model.name, reason=reason)
        if self._slots[model.name].is_gone:
            del self._slots[model.name]

    async def _make_room(self, model: Model) -> None:
        """Let go of models until `model` fits. Raises `ModelHasNoRoom` where those that are left answer somebody."""
        while running := self._running():  # beside nothing of ours the engine finds out for itself whether it fits
            weights_bytes = sum(one.backend.card.weights_bytes for one in running)
            free_bytes = await asyncio.to_thread(self._free_bytes, weights_bytes)
            if free_bytes >= model.need_bytes:
                return
            idle = [slot for slot in self._slots.values() if slot.can_go]
            if not idle:
                raise ModelHasNoRoom(model.name, needed_bytes=model.need_bytes, free_bytes=free_bytes)
            await min(idle, key=_usefulness).let_go("memory")

    def _running(self) -> list[Running]:
        return [slot.running for slot in self._slots.values() if slot.running is not None]


@contextmanager
def _resting(engines: Sequence[RunningEngine]) -> Iterator[Beside]:
    """They leave time to what is loaded meanwhile."""
    for engine in engines:
        engine.rest(is_wanted=True)
    try:
        yield "answers" if any(engine.stats.running for engine in engines) else "models"
    finally:
        for engine in engines:
            engine.rest(is_wanted=False)


def _usefulness(slot: Slot) -> tuple[float, int, float]:
    """The least useful first: unused for longest, by the minute, then the largest."""
    card = slot.running.backend.card if slot.running else None
    n_bytes = card.weights_bytes + card.kv_bytes if card else 0
    return slot.used_s // _AS_RECENT_S, -n_bytes, slot.used_s


def _shown(slot: Slot) -> Loaded | None:
    running, state, goes_at_s = slot.running, slot.state, slot.goes_at_s
    if state == "absent":
        return None
    now_s = asyncio.get_running_loop().time()
    return Loaded(
        name=slot.model.name,
        state=state,
        card=running.backend.card if running else None,
        pid=running.engine.pid if running else None,
        n_requests=slot.n_users,
        n_running=running.engine.stats.running if running else 0,
        n_waiting=running.engine.stats.waiting if running else 0,
        loaded_at_s=slot.loaded_at_s if running else None,
        keeps_s=None if goes_at_s is None else max(0.0, goes_at_s - now_s),
        is_kept=slot.model.keep_alive_s == math.inf,
    )
