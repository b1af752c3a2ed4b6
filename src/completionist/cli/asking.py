"""One request to a backend, without a server around it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing

from completionist import ids
from completionist.chat.deltas import ChatBackend, Delta
from completionist.chat.fold import Folder, Head
from completionist.types.caller import Caller
from completionist.types.completion import ChatCompletion
from completionist.types.request import ChatRequest


async def ask(backend: ChatBackend, request: ChatRequest, on_delta: Callable[[Delta], None]) -> ChatCompletion:
    """The whole answer; `on_delta` gets what it is made of as it comes. Raises `APIError`."""
    head = Head(
        id=ids.completion_id(),
        created=ids.now_s(),
        model=request.model,
        service_tier="default",
        system_fingerprint=backend.card.fingerprint,
    )
    folder = Folder(head, has_logprobs=False)
    async with aclosing(backend.deltas(request, Caller())) as deltas:
        async for delta in deltas:
            folder.add(delta)
            on_delta(delta)
    return folder.finish()
