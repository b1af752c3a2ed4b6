"""The use case, whole: check the request, let a backend answer, fold what comes, and write chunks on the way past."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Protocol

import msgspec

from completionist import ids
from completionist.chat.check import check
from completionist.chat.chunks import Chunks
from completionist.chat.deltas import ChatBackend, Delta, Opened
from completionist.chat.fold import Folder, Head
from completionist.chat.tiers import tier_of
from completionist.types.caller import Caller
from completionist.types.completion import ChatCompletion
from completionist.types.request import ChatRequest


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
    """One answer under way. Let it come once, `whole` or `streamed`; then it is `completed`."""

    def __init__(self, backend: ChatBackend, request: ChatRequest, caller: Caller) -> None:
        self._backend = backend
        self._request = request
        self._caller = caller
        self._head = Head(
            id=ids.completion_id(),
            created=ids.now_s(),
            model=request.model,
            service_tier=tier_of(request, caller),
            system_fingerprint=backend.card.fingerprint,
        )
        self._folder = Folder(self._head, has_logprobs=bool(request.logprobs))
        self.has_begun = False
        """Whether some content has come, of a streamed answer."""

    async def whole(self) -> None:
        """Let all of it come. Raises `APIError`."""
        async with aclosing(self._backend.deltas(self._request, self._caller)) as deltas:
            async for delta in deltas:
                self._folder.add(delta)

    @asynccontextmanager
    async def streamed(self) -> AsyncIterator[AsyncIterator[bytes]]:
        """The answer as JSON chunks, from the moment on when it is accepted. Raises `APIError`: on entering where it is not."""
        async with aclosing(self._backend.deltas(self._request, self._caller)) as deltas:
            first = await anext(deltas)
            async with aclosing(self._written(first, deltas)) as chunks:
                yield chunks

    async def _written(self, first: Delta, deltas: AsyncIterator[Delta]) -> AsyncGenerator[bytes]:
        chunks = self._chunks()
        for chunk in self._write(first, chunks):
            yield chunk
        async for delta in deltas:
            for chunk in self._write(delta, chunks):
                yield chunk

    def _write(self, delta: Delta, chunks: Chunks) -> list[bytes]:
        self.has_begun = self.has_begun or not isinstance(delta, Opened)
        self._folder.add(delta)
        return chunks.write(delta)

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
            may_call=may_call(self._request),
        )


def may_call(request: ChatRequest) -> bool:
    """Whether the answer may be or begin with a call."""
    return bool(request.tools or request.functions) and "none" not in (request.tool_choice, request.function_call)
