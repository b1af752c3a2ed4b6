"""What is in memory, and letting go of it: for who looks after this server, not part of the API that it serves."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

import msgspec
import psutil

from completionist import ids
from completionist.api.exchange import Exchange
from completionist.api.services import Services
from completionist.chat.loaded import Loaded


class _Range(msgspec.Struct, kw_only=True):
    n_streams: int
    tokens: int


class LoadedModel(msgspec.Struct, kw_only=True):
    name: str
    aliases: list[str]
    pid: int | None
    """Of the process that holds it."""
    state: Literal["loading", "loaded", "leaving"]
    memory_bytes: int | None
    """Resident memory of its process, the part of the file that it uses included."""
    weights_bytes: int | None
    kv_bytes: int | None
    streams: list[_Range]
    requests: int
    """That are being answered, or wait for it."""
    running: int
    """Sequences."""
    waiting: int
    loaded_at: int | None
    """Unix seconds."""
    unload_at: int | None
    """If nobody asks again; null: as long as somebody asks, or for ever."""
    is_kept: bool
    """It stays for ever."""


class LoadedModels(msgspec.Struct):
    data: list[LoadedModel]


class ModelStopped(msgspec.Struct, kw_only=True):
    name: str
    """Of the model itself."""
    was_loaded: bool


async def list_loaded(exchange: Exchange, services: Services) -> None:
    """The models in memory, in the order in which they came."""
    backends = services.chat.backends
    await backends.refresh()
    aliases: defaultdict[str, list[str]] = defaultdict(list)
    for served in backends.models():
        if served.id != served.model:
            aliases[served.model].append(served.id)
    loaded = backends.loaded()
    resident = await asyncio.to_thread(_resident_bytes, [one.pid for one in loaded])
    models = [_model(one, aliases[one.name], n_bytes) for one, n_bytes in zip(loaded, resident, strict=True)]
    await exchange.respond_json(msgspec.json.encode(LoadedModels(models)))


async def stop(exchange: Exchange, services: Services) -> None:
    """Unload a model once its answers are complete; new requests for it wait, and have it loaded again."""
    backends = services.chat.backends
    await backends.refresh()
    name = backends.find(exchange.params["model"]).model
    was_loaded = any(one.name == name for one in backends.loaded())
    await services.drain.attend(backends.stop(name), exchange.receive)
    await exchange.respond_json(msgspec.json.encode(ModelStopped(name=name, was_loaded=was_loaded)))


def _model(one: Loaded, aliases: list[str], resident_bytes: int | None) -> LoadedModel:
    card = one.card
    return LoadedModel(
        name=one.name,
        aliases=aliases,
        pid=one.pid,
        state=one.state,
        memory_bytes=resident_bytes,
        weights_bytes=card.weights_bytes if card else None,
        kv_bytes=card.kv_bytes if card else None,
        streams=[_Range(n_streams=some.n_streams, tokens=some.tokens) for some in card.ranges] if card else [],
        requests=one.n_requests,
        running=one.n_running,
        waiting=one.n_waiting,
        loaded_at=one.loaded_at_s,
        unload_at=None if one.keeps_s is None else ids.now_s() + round(one.keeps_s),
        is_kept=one.is_kept,
    )


def _resident_bytes(pids: Sequence[int | None]) -> list[int | None]:
    """Blocking."""
    return [None if pid is None else _resident(pid) for pid in pids]


def _resident(pid: int) -> int | None:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:  # it ended meanwhile
        return None
