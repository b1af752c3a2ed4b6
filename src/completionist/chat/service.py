"""The use case, whole: check the request, let a backend answer, fold what comes, and write chunks on the way past."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Protocol

import msgspec

from completionist import ids
from completionist.chat.check import check
from completionist.chat.chunks import Chunks
from completionist.chat.deltas import ChatBackend
from completionist.chat.fold import Folder, Head
from completionist.types.caller import Caller
from completionist.types.completion import ChatCompletion
from completionist.types.request import ChatRequest

DEFAULT_TIER = "default"


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """A model that clients can name (contract, sections 1.5 and 13.6)."""

    id: str
    created: int
    """Unix seconds: when the model was added here."""
    owned_by: str


class Backends(Protocol):
    """What this server can answer with."""

    def get(self, name: str) -> ChatBackend:
        """The backend that serves the model `name`. Raises `ModelNotFound`."""
        ...

    def models(self) -> Sequence[Served]:
        """All models, in the order they are listed."""
        ...


class ChatService:
    """Answers chat requests."""

    def __init__(self, backends: Backends) -> None:
        self.backends = backends

    def answer(self, request: ChatRequest, caller: Caller) -> Answer:
        """Begin an answer; nothing runs before it is read. Raises `APIError` for what the model cannot do."""
        backend = self.backends.get(request.model)
        check(request, backend.card)
        return Answer(backend, request, caller)


class Answer:
    """One answer under way. Let it come once, `whole` or as `chunks`; then it is `completed`."""

    def __init__(self, backend: ChatBackend, request: ChatRequest, caller: Caller) -> None:
        self._backend = backend
        self._request = request
        self._caller = caller
        self._head = Head(
            id=ids.completion_id(),
            created=ids.now_s(),
            model=request.model,
            service_tier=DEFAULT_TIER,
            system_fingerprint=backend.card.fingerprint,
        )
        self._folder = Folder(self._head, has_logprobs=bool(request.logprobs))

    async def whole(self) -> None:
        """Let all of it come. Raises `APIError`."""
        async with aclosing(self._backend.deltas(self._request, self._caller)) as deltas:
            async for delta in deltas:
                self._folder.add(delta)

    async def chunks(self) -> AsyncGenerator[bytes]:
        """The answer as JSON chunks. Raises `APIError`: before the first chunk where nothing was accepted."""
        chunks = self._chunks()
        async with aclosing(self._backend.deltas(self._request, self._caller)) as deltas:
            async for delta in deltas:
                self._folder.add(delta)
                if chunk := chunks.chunk(delta):
                    yield chunk

    def completed(self) -> ChatCompletion:
        """The answer, once it has been read. Raises `IncompleteAnswer` where a backend left something out."""
        return self._folder.finish()

    def _chunks(self) -> Chunks:
        options = self._request.stream_options
        return Chunks(
            self._head,
            has_logprobs=bool(self._request.logprobs),
            include_usage=bool(options and options.include_usage),
            include_obfuscation=options is None or options.include_obfuscation is not False,
        )
