"""The use case, whole: check, let a backend answer, fold what comes, write chunks on the way past, store."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, nullcontext
from functools import partial
from typing import NamedTuple, Protocol

import msgspec

from completionist import ids
from completionist.chat.aside import aside
from completionist.chat.attached import Attachments
from completionist.chat.check import check
from completionist.chat.chunks import Chunks
from completionist.chat.citing import cited
from completionist.chat.deltas import ChatBackend, Closed, Delta, Opened, Tally, Times, Totals
from completionist.chat.estimate import estimated_tokens
from completionist.chat.fold import Folder, Head
from completionist.chat.gate import check_room, reworded
from completionist.chat.keep import Keeper
from completionist.chat.loaded import Loaded
from completionist.chat.moderate import Moderated, Moderator
from completionist.chat.profiles import OPEN, Profile
from completionist.chat.room import Place, Room, Rooms
from completionist.chat.search import Searched, Source, searched
from completionist.chat.senses import Senses
from completionist.chat.speech import Wanted, is_spoken, spoken, wanted_of
from completionist.chat.tiers import tier_of
from completionist.errors import ContextLengthExceeded, UnsupportedParameter
from completionist.settings import StoreSettings
from completionist.store.base import Attempt, CompletionStore
from completionist.store.voices import VoiceBook
from completionist.types.caller import Caller
from completionist.types.completion import ChatCompletion, Usage
from completionist.types.formats import TextResponse
from completionist.types.request import ChatRequest

_USUAL_CONTEXT_TOKENS = 8192
"""For the estimate of a request whose model is not loaded."""


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """A name that clients can use for a model (contract, sections 1.5 and 13.6)."""

    id: str
    model: str
    """The name of the model itself: another one than `id` where that is an alias."""
    created: int
    """Unix seconds: when it was added here."""
    owned_by: str
    profile: Profile = OPEN
    """What it takes (contract 2.4, 13.1)."""


class Backends(Protocol):
    """What this server can answer with."""

    async def refresh(self) -> None:
        """Before a request looks names up: see what is here now."""
        ...

    def find(self, name: str) -> Served:
        """Raises `ModelNotFound`."""
        ...

    def models(self) -> Sequence[Served]:
        """All names, in the order they are listed."""
        ...

    @property
    def is_ready(self) -> bool:
        """Whether requests will be taken, as far as engines are concerned."""
        ...

    @property
    def advice(self) -> str:
        """Where there is no model at all: what the operator can do, a sentence."""
        ...

    def peek(self, name: str) -> ChatBackend | None:
        """The backend that answers for `name`, where its model is loaded. Raises `ModelNotFound`."""
        ...

    def use(self, name: str) -> AbstractAsyncContextManager[ChatBackend]:
        """The backend that answers for `name`, kept meanwhile; entering may take as long as loading its model.

        Entering raises `ModelNotFound`, `ModelLoadFailed`, `ModelHasNoRoom`.
        """
        ...

    def loaded(self) -> Sequence[Loaded]:
        """What is in memory, in the order in which it came."""
        ...

    async def stop(self, model: str) -> None:
        """Let go of a model, by its own name, once its answers are complete; wait for that."""
        ...


class Stages(msgspec.Struct, frozen=True):
    """What a request passes before a backend has it, and its answer behind it."""

    attachments: Attachments
    senses: Senses
    voices: VoiceBook
    moderator: Moderator | None
    """None: nobody judges."""


class ChatService:
    """Answers chat requests, and stores the answers that are to be kept."""

    def __init__(
        self,
        backends: Backends,
        store: CompletionStore,
        settings: StoreSettings,
        stages: Stages,
        rooms: Rooms,
    ) -> None:
        self.backends = backends
        self._store = store
        self._stages = stages
        self._policy = settings.completions
        self._rooms = rooms

    def judge(self, request: ChatRequest, caller: Caller, request_id: str) -> Asked:
        """Before anything runs: whether the model can do it, as far as that is known while it is not loaded.

        Raises `ModelNotFound`, and the `APIError` of what cannot be done.
        """
        profile = self.backends.find(request.model).profile
        backend = self.backends.peek(request.model)
        if backend is not None:
            self._check(request, backend, profile)
        tier_of(request, caller)
        return Asked(
            request,
            caller,
            request_id,
            profile,
            estimated_tokens=estimated_tokens(
                request, backend.card.context_tokens if backend else _USUAL_CONTEXT_TOKENS
            ),
            is_stored=self._is_stored(request),
            is_checked=backend is not None,
        )

    @asynccontextmanager
    async def answering(self, asked: Asked, attempt: Attempt | None) -> AsyncIterator[Answer]:
        """An answer whose model is there; nothing else runs before it is read. `attempt` is what it settles.

        Entering raises the `APIError` of what the model cannot do, or why it cannot be had.
        """
        request, caller = asked.request, asked.caller
        keeper = Keeper(self._store, request, caller, asked.request_id, attempt, is_stored=asked.is_stored)
        async with self.backends.use(request.model) as backend:
            if not asked.is_checked:
                await aside(request, partial(self._check, request, backend, asked.profile))
            model = Model(backend, asked.profile, self._rooms.of(backend.card.name))
            yield Answer(model, request, caller, keeper, self._stages)

    def _check(self, request: ChatRequest, backend: ChatBackend, profile: Profile) -> None:
        stages = self._stages
        check(
            request,
            backend.card,
            profile,
            can_think=backend.can_think,
            senses=stages.senses,
            moderator=stages.moderator,
        )

    def _is_stored(self, request: ChatRequest) -> bool:
        if request.store and self._policy == "never":
            raise UnsupportedParameter("store", "This server stores no completions.")
        return self._policy == "by_default" if request.store is None else request.store


class Asked(NamedTuple):
    """A request that was judged, and waits for its model."""

    request: ChatRequest
    caller: Caller
    request_id: str
    profile: Profile
    estimated_tokens: int
    """That its answer may come to, prompt included (contract, section 9.5)."""
    is_stored: bool
    is_checked: bool
    """Against the model too, which was loaded."""


class Model(NamedTuple):
    """What answers the requests of one model."""

    backend: ChatBackend
    profile: Profile
    room: Room


class Answer:
    """One answer under way. Let it come once, `whole` or `streamed`; then it is `completed`, and stored if it was to be."""

    def __init__(self, model: Model, request: ChatRequest, caller: Caller, keeper: Keeper, stages: Stages) -> None:
        self._backend, self._profile, self._room = model
        self._stages = stages
        self._place: Place
        self._tally = Tally()
        self._usage: Usage | None = None
        self.request = request
        self._caller = caller
        self._keeper = keeper
        self._head = Head(
            id=ids.completion_id(),
            created=ids.now_s(),
            model=request.model,
            service_tier=tier_of(request, caller),
            system_fingerprint=self._backend.card.fingerprint,
        )
        self._folder = Folder(self._head, has_logprobs=bool(request.logprobs))
        self._n_open = request.n or 1
        self._sent: list[bytes] = []
        self._completion: ChatCompletion
        self.has_begun = False
        """Whether some content has come."""

    async def whole(self) -> None:
        """Let all of it come. Raises `APIError`."""
        async with self._deltas() as (first, deltas):
            self._folder.add(first)
            async for delta in deltas:
                self._fold(delta)
        await self._finish(self._as_json)

    @asynccontextmanager
    async def streamed(self) -> AsyncIterator[AsyncIterator[bytes]]:
        """The answer as JSON chunks, from the moment on when it is accepted. Raises `APIError`: on entering where it is not.

        The chunk that ends the last choice, and the usage, come once the answer is stored: a client that saw the end of an
        answer finds it, and an answer that could not be stored has no end (contract, sections 1.1 and 6.11).
        """
        async with self._deltas() as (first, deltas), aclosing(self._written(first, deltas)) as chunks:
            yield chunks

    async def _written(self, first: Delta, deltas: AsyncIterator[Delta]) -> AsyncGenerator[bytes]:
        chunks = self._chunks()
        for chunk in self._write(first, chunks):
            yield chunk
        last: list[bytes] = []
        async for delta in deltas:
            written = self._write(delta, chunks)
            if self._n_open:
                for chunk in written:
                    yield chunk
            else:
                last += written
        await self._finish(lambda: b"\n".join(self._sent))
        for chunk in last:
            yield chunk

    def _write(self, delta: Delta, chunks: Chunks) -> list[bytes]:
        self._n_open -= isinstance(delta, Closed)
        self._fold(delta)
        written = chunks.write(delta)
        if self._keeper.attempt is not None:
            self._sent += written
        return written

    def _fold(self, delta: Delta) -> None:
        if not (self.has_begun or isinstance(delta, Opened)):
            self.has_begun = True
            self._place.begin()
        if isinstance(delta, Totals):
            self._usage = delta.usage
        self._folder.add(delta)

    def completed(self) -> ChatCompletion:
        """The answer, once it has been read."""
        return self._completion

    @property
    def usage(self) -> Usage | None:
        """What was run for it, once it is over, be it whole or not; None: nothing."""
        return self._usage or self._tally.usage

    @property
    def times(self) -> Times:
        """Once it is over, be it whole or not."""
        return self._tally.times

    @property
    def served_model(self) -> str:
        """Which model it was, whatever the request called it."""
        return self._backend.card.name

    @asynccontextmanager
    async def _deltas(self) -> AsyncIterator[tuple[Delta, AsyncIterator[Delta]]]:
        """The first, which says that the request is accepted, and the others. Raises `Overloaded`, `StorageUnavailable` where
        the answer could not be stored, and what is wrong with what the request names, before anything runs."""
        tier, moderated = tier_of(self.request, self._caller), self._moderated()
        with (
            self._room.place(
                self._caller, tier, n_choices=self.request.n or 1, n_streams=self._backend.card.streams
            ) as self._place,
            moderated.place(tier) if moderated else nullcontext(),
        ):
            await self._keeper.check()
            project, voices = self._caller.project, self._stages.voices
            wanted = await wanted_of(self.request, voices, project, self._head.created)
            async with (
                self._stages.attachments.read(self.request, project, self._backend.card) as read,
                moderated.input(read) if moderated else nullcontext(),
            ):
                request, sources = await self._searched(read)
                async with (
                    aclosing(self._backend.deltas(request, self._caller, self._tally)) as written,
                    aclosing(moderated.output(written, self._place.begin) if moderated else written) as judged,
                    aclosing(self._staged(judged, sources, wanted)) as deltas,
                ):
                    try:
                        yield self._fitting(await anext(deltas)), deltas
                    except ContextLengthExceeded as error:
                        raise reworded(error, self.request, self._profile) from None

    def _fitting(self, first: Delta) -> Delta:
        if isinstance(first, Opened):
            n_context = self._backend.card.context_tokens
            check_room(self.request, self._profile, prompt_tokens=first.prompt_tokens, context_tokens=n_context)
        return first

    async def _searched(self, read: ChatRequest) -> Searched:
        provider, n_context = self._stages.senses.search, self._backend.card.context_tokens
        return await searched(self.request, read, self._profile, provider, n_context)

    def _moderated(self) -> Moderated | None:
        wanted, moderator = self.request.moderation, self._stages.moderator
        return Moderated(moderator, wanted, self._caller) if wanted and moderator else None

    def _staged(
        self, written: AsyncGenerator[Delta], sources: Sequence[Source], wanted: Wanted | None
    ) -> AsyncGenerator[Delta]:
        """What is spoken has no text that could cite: a request never wants both."""
        if sources:
            return cited(written, sources, is_json=not isinstance(self.request.response_format, TextResponse | None))
        return written if wanted is None else spoken(written, wanted, self._stages.senses.speaker)

    async def _finish(self, sent: Callable[[], bytes]) -> None:
        """Raises `IncompleteAnswer` where a backend left something out, `StorageUnavailable`."""
        self._completion = self._folder.finish()
        await self._keeper.keep(self._completion, sent)

    def _as_json(self) -> bytes:
        return msgspec.json.encode(self._completion)

    def _chunks(self) -> Chunks:
        options = self.request.stream_options
        return Chunks(
            self._head,
            has_logprobs=bool(self.request.logprobs),
            include_usage=bool(options and options.include_usage),
            include_obfuscation=options is None or options.include_obfuscation is not False,
            may_call=may_call(self.request),
            is_spoken=is_spoken(self.request),
        )


def may_call(request: ChatRequest) -> bool:
    """Whether the answer may be or begin with a call."""
    return bool(request.tools or request.functions) and "none" not in (request.tool_choice, request.function_call)
