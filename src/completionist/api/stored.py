"""Stored completions: list, retrieve, update, delete, and their input messages (contract, sections 1.2 to 1.4)."""

from __future__ import annotations

from typing import Literal

import msgspec

from completionist import ids
from completionist.api.exchange import Exchange
from completionist.api.idempotency import claimed, read_attempt
from completionist.api.limits import read_json_body
from completionist.api.lists import encode_list
from completionist.api.query import Pairs, pairs, read_filters, read_page
from completionist.api.services import Services
from completionist.errors import CompletionNotFound
from completionist.store.base import Page, Settled
from completionist.types.stored import read_metadata

MAX_UPDATE_BYTES = 128 * 2**10
"""Sixteen pairs of the greatest length, every character written as an escape, are 110 KB."""


class CompletionDeleted(msgspec.Struct, kw_only=True):
    object: Literal["chat.completion.deleted"] = "chat.completion.deleted"
    id: str
    deleted: Literal[True] = True


async def list_completions(exchange: Exchange, services: Services) -> None:
    sent = pairs(exchange.query)
    found = await services.store.list(exchange.caller.project, read_filters(sent), _page(sent))
    await exchange.respond_json(encode_list(found))


async def retrieve(exchange: Exchange, services: Services) -> None:
    item = await services.store.get(exchange.caller.project, _id(exchange))
    await exchange.respond_json(item.json)


async def update(exchange: Exchange, services: Services) -> None:
    """Replaces the whole metadata."""
    parts = await read_json_body(
        exchange.headers,
        exchange.receive,
        max_bytes=min(services.settings.max_body_bytes, MAX_UPDATE_BYTES),
        deadline_s=exchange.receipt_deadline_s,
    )
    metadata = read_metadata(b"".join(parts))
    id_ = _id(exchange)
    async with claimed(exchange, services, await read_attempt(exchange, parts)) as claim:
        sent = claim.replay
        if sent is None:
            sent = (await services.store.update(exchange.caller.project, id_, metadata, claim.attempt)).json
    await exchange.respond_json(sent)


async def delete(exchange: Exchange, services: Services) -> None:
    id_ = _id(exchange)
    sent = msgspec.json.encode(CompletionDeleted(id=id_))
    async with claimed(exchange, services, await read_attempt(exchange, ())) as claim:
        if claim.replay is None:
            settled = Settled(claim.attempt, sent) if claim.attempt else None
            await services.store.delete(exchange.caller.project, id_, settled)
    await exchange.respond_json(sent)


async def list_messages(exchange: Exchange, services: Services) -> None:
    page = _page(pairs(exchange.query))
    found = await services.store.messages(exchange.caller.project, _id(exchange), page)
    await exchange.respond_json(encode_list(found))


def _id(exchange: Exchange) -> str:
    """What has not the form of an id never reaches a database. Raises `CompletionNotFound`."""
    id_ = exchange.params["completion_id"]
    if not ids.is_completion_id(id_):
        raise CompletionNotFound(id_)
    return id_


def _page(sent: Pairs) -> Page:
    return read_page(sent, default_limit=20, max_limit=100, default_order="asc")
