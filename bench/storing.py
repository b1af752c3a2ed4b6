"""What storing adds to a request, and whether the event loop stays free meanwhile: the whole use case over a script.

The script says a hundred words at once, so that a request is short and what storing adds to it is seen.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import math
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from statistics import median

import msgspec

from bench.harness import Sample
from completionist import ids
from completionist.app import open_media, wire
from completionist.chat.service import ChatService
from completionist.engine.base import Prompt
from completionist.engine.launch import Beside
from completionist.engine.scripted import CARD, Move, ScriptedEngine
from completionist.local.backend import LocalBackend
from completionist.metrics import Metrics
from completionist.registry.model import Model, Running
from completionist.registry.registry import Found, Registry
from completionist.settings import Settings, StoreSettings
from completionist.store.sql.books import SqlBooks
from completionist.store.sql.store import SqlStore
from completionist.types.caller import Caller
from completionist.types.request import ChatRequest, Draft

_WORDS = [b" High", b" water"] * 50
_AT_ONCE = 8
_TICK_S = 0.001
_BODY = {
    "model": CARD.name,
    "metadata": {"team": "7"},
    "messages": [{"role": "user", "content": "When is high water? " * 10}],
}


async def added(url: str, n_times: int) -> Sample:
    """Milliseconds: what a `plain` request takes and what storing `added`, medians of requests by turns; for how long the
    loop was `held` at most while eight asked at a time, without storing and with it.
    """
    async with _service(url) as service:
        plain, stored = _request(is_stored=False), _request(is_stored=True)
        await _took_ms(service, plain)
        await _took_ms(service, stored)
        took_ms = [(await _took_ms(service, plain), await _took_ms(service, stored)) for _ in range(n_times)]
        held_ms = [await _held_ms(service, request, n_times) for request in (plain, stored)]
    plain_ms, stored_ms = (median(column) for column in zip(*took_ms, strict=True))
    return {"plain": plain_ms, "added": stored_ms - plain_ms, "held_plain": held_ms[0], "held": held_ms[1]}


@asynccontextmanager
async def _service(url: str) -> AsyncIterator[ChatService]:
    settings = Settings(store=StoreSettings(url=url))
    store, engine = SqlStore(settings.store), ScriptedEngine(_script, queue_requests=_AT_ONCE)
    backend, metrics = LocalBackend(engine), Metrics()
    await store.start()
    await backend.start()

    async def start(_: Beside) -> Running:
        return Running(backend=backend, engine=engine, close=backend.close)

    model = Model(
        name=CARD.name, version=None, created=ids.now_s(), owned_by="bench", keep_alive_s=math.inf, start=start
    )
    registry = Registry(lambda: Found(models=(model,)), lambda _: sys.maxsize, metrics)
    await registry.refresh()
    await registry.start(CARD.name)
    services = wire(settings, registry, metrics, store, media=open_media(settings), books=SqlBooks(store))
    gc.collect()
    gc.freeze()  # as a server does
    try:
        yield services.chat
    finally:
        gc.unfreeze()
        await asyncio.to_thread(services.decoder.close)
        await services.files.close()
        await services.media.close()
        await registry.close()
        await engine.close()
        await store.close()


def _script(prompt: Prompt) -> Sequence[Sequence[Move]]:
    return [_WORDS] * prompt.n


def _request(*, is_stored: bool) -> ChatRequest:
    return Draft.read(msgspec.json.encode({**_BODY, "store": is_stored})).request()


async def _took_ms(service: ChatService, request: ChatRequest) -> float:
    began_s = time.perf_counter()
    asked = service.judge(request, Caller(), ids.request_id())
    async with service.answering(asked, None) as answer:
        await answer.whole()
    return (time.perf_counter() - began_s) * 1e3


async def _held_ms(service: ChatService, request: ChatRequest, n_times: int) -> float:
    """By how much a timer came late at worst while there were such requests, several at once."""
    numbers = iter(range(n_times))

    async def client() -> None:
        for _ in numbers:
            await _took_ms(service, request)

    ticking = asyncio.create_task(_latest_ms())
    await asyncio.gather(*(client() for _ in range(_AT_ONCE)))
    ticking.cancel()
    return await ticking


async def _latest_ms() -> float:
    loop = asyncio.get_running_loop()
    worst_s = 0.0
    try:
        for _ in itertools.count():
            due_s = loop.time() + _TICK_S
            await asyncio.sleep(_TICK_S)
            worst_s = max(worst_s, loop.time() - due_s)
    except asyncio.CancelledError:
        return worst_s * 1e3
    raise AssertionError
