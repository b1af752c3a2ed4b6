"""Models, health and metrics (contract, section 1.5)."""

from __future__ import annotations

from typing import Literal

import msgspec

from completionist.api.exchange import Exchange
from completionist.api.services import Services
from completionist.chat.service import Served
from completionist.errors import InsufficientPermissions, ModelNotFound, NotReady, StorageUnavailable
from completionist.metrics import CONTENT_TYPE


class Model(msgspec.Struct, kw_only=True):
    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    shutdown_date: None = None


class Models(msgspec.Struct):
    data: list[Model]
    object: Literal["list"] = "list"


class Health(msgspec.Struct):
    status: Literal["ok"] = "ok"


class _Readiness(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Degraded: what asks for storage is refused, or everything is because no model is installed."""

    status: Literal["ok", "degraded"]
    storage: Literal["ok", "unavailable"]
    advice: str = ""
    """What the operator can do about there being no model."""


async def list_models(exchange: Exchange, services: Services) -> None:
    await services.chat.backends.refresh()
    models = [_model(served) for served in services.chat.backends.models()]
    await exchange.respond_json(msgspec.json.encode(Models(models)))


async def retrieve_model(exchange: Exchange, services: Services) -> None:
    await exchange.respond_json(msgspec.json.encode(_model(await _named(exchange, services))))


async def delete_model(exchange: Exchange, services: Services) -> None:
    """The files are the operator's (contract, section 13.6)."""
    await _named(exchange, services)
    raise InsufficientPermissions


async def live(exchange: Exchange, services: Services) -> None:  # noqa: ARG001 (the signature of every handler)
    """This process runs, whatever its engine does."""
    await exchange.respond_json(msgspec.json.encode(Health()))


async def ready(exchange: Exchange, services: Services) -> None:
    """Requests will be taken."""
    backends = services.chat.backends
    if services.drain.is_draining or not backends.is_ready:
        raise NotReady
    await backends.refresh()
    readiness = _Readiness(status="degraded" if backends.advice else "ok", storage="ok", advice=backends.advice)
    try:
        await services.store.ping()
    except StorageUnavailable:
        readiness = msgspec.structs.replace(readiness, status="degraded", storage="unavailable")
    await exchange.respond_json(msgspec.json.encode(readiness))


async def metrics(exchange: Exchange, services: Services) -> None:
    await exchange.respond(200, services.metrics.exposition(), {"content-type": CONTENT_TYPE})


async def _named(exchange: Exchange, services: Services) -> Served:
    name = exchange.params["model"]
    await services.chat.backends.refresh()
    try:
        return services.chat.backends.find(name)
    except ModelNotFound:
        raise ModelNotFound(name, param="model") from None


def _model(served: Served) -> Model:
    return Model(id=served.id, created=served.created, owned_by=served.owned_by)
