"""`Idempotency-Key`: the same request twice is answered once (contract, section 10)."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from starlette.datastructures import Headers

from completionist.api.exchange import Exchange
from completionist.api.services import Services
from completionist.errors import InvalidHeader
from completionist.store.base import Attempt

_MAX_KEY_CHARACTERS = 255
_MAX_BYTES_HERE = 64 * 2**10
"""Larger bodies are digested on a thread."""


class Claim:
    """A request with a key, or without one: then `attempt` is None and nothing is kept.

    `replay`: the answer that this request was given before.
    """

    def __init__(self, attempt: Attempt | None, replay: bytes | None) -> None:
        self.attempt = attempt
        self.replay = replay


async def read_attempt(exchange: Exchange, body: Sequence[bytes]) -> Attempt | None:
    """None where the request carries no key. Raises `InvalidHeader`."""
    key = _key(exchange.headers)
    if key is None:
        return None
    digest = await _digest(exchange.method, body)
    return Attempt(project=exchange.caller.project, path=exchange.path, key=key, digest=digest)


@asynccontextmanager
async def claimed(exchange: Exchange, services: Services, attempt: Attempt | None) -> AsyncIterator[Claim]:
    """Hold the key of `attempt`, if there is one, until it is answered: what fails inside gives it back.

    Whatever answers inside settles the attempt, in the transaction of what it changes. Raises `IdempotencyKeyInUse`,
    `IdempotencyKeyReused`, `StorageUnavailable`.
    """
    if attempt is None:
        yield Claim(None, None)
        return
    replay = await services.store.claim(attempt)
    exchange.is_replayed = replay is not None
    try:
        yield Claim(attempt, replay)
    except BaseException:
        if replay is None:
            await services.store.release(attempt)
        raise


def _key(headers: Headers) -> str | None:
    sent = headers.get("idempotency-key")
    if sent is not None and not (0 < len(sent) <= _MAX_KEY_CHARACTERS and sent.isascii()):
        raise InvalidHeader("Invalid 'Idempotency-Key' header: expected 1 to 255 ASCII characters.")
    return sent


async def _digest(method: str, body: Sequence[bytes]) -> bytes:
    if sum(map(len, body)) <= _MAX_BYTES_HERE:
        return _digested(method, body)
    return await asyncio.to_thread(_digested, method, body)


def _digested(method: str, body: Sequence[bytes]) -> bytes:
    state = hashlib.sha256(method.encode("latin-1") + b"\n")
    for part in body:
        state.update(part)
    return state.digest()
