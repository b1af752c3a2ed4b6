"""Models, health and metrics (contract, section 1.5)."""

from __future__ import annotations

from typing import Literal

import msgspec

from completionist.api.exchange import Exchange
from completionist.api.services import Services
from completionist.chat.service import Served
from completionist.errors import InsufficientPermissions, ModelNotFound, NotReady, StorageUnavailable
from completionist.metrics import CONTENT_TYPE


class _Model(msgspec.Struct, kw_only=True):
    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    shutdown_date: None = None


class _Models(msgspec.Struct):
    data: list[_Model]
    object: Literal["list"] = "list"


class _Health(msgspec.Struct):
    status: Literal["ok"] = "ok"


class _Readiness(msgspec.Struct, kw_only=True):
    """Degraded: only what asks for storage is refused."""

    status: Literal["ok", "degraded"]
    storage: Literal["ok", "unavailable"]


async def list_models(exchange: Exchange, services: Services) -> None:
    models = [_model(served) for served in services.chat.backends.models()]
    await exchange.respond_json(msgspec.json.encode(_Models(models)))


async def retrieve_model(exchange: Exchange, services: Services) -> None:
    await exchange.respond_json(msgspec.json.encode(_model(_named(exchange, services))))


async def delete_model(exchange: Exchange, services: Services) -> None:
    """The files are the operator's (contract, section 13.6)."""
    _named(exchange, services)
    raise InsufficientPermissions


async def live(exchange: Exchange, services: Services) -> None:  # noqa: ARG001 (the signature of every handler)
    """This process runs, whatever its engine does."""
    await exchange.respond_json(msgspec.json.encode(_Health()))


async def ready(exchange: Exchange, services: Services) -> None:
    """Requests will be taken."""
    if services.drain.is_draining or not services.has_engine():
        raise NotReady
    try:
        await services.store.ping()
        readiness = _Readiness(status="ok", storage="ok")
    except StorageUnavailable:
        readiness = _Readiness(status="degraded", storage="unavailable")
    await exchange.respond_json(msgspec.json.encode(readiness))


async def metrics(exchange: Exchange, services: Services) -> None:
    await exchange.respond(200, services.metrics.exposition(), {"content-type": CONTENT_TYPE})


def _named(exchange: Exchange, services: Services) -> Served:
    name = exchange.params["model"]
    for served in services.chat.backends.models():
        if served.id == name:
            return served
    raise ModelNotFound(name, param="model")


def _model(served: Served) -> _Model:
    return _Model(id=served.id, created=served.created, owned_by=served.owned_by)
