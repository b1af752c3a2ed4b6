"""The seam between the use case and what keeps its answers: everything that outlives the process.

Every call names the project whose rows it may see; an id of another project is an unknown one. A call that returns has
been committed; one that raises `StorageUnavailable` has changed nothing that it knows of.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Generic, Literal, Protocol, TypeVar

import msgspec

from completionist.types.completion import ChatCompletion
from completionist.types.frozen import FrozenMap
from completionist.types.request import ChatRequest

T = TypeVar("T")

_attempts = itertools.count(1)

Order = Literal["asc", "desc"]


class NewCompletion(msgspec.Struct, frozen=True, kw_only=True):
    """A complete answer, and what asked for it."""

    project: str
    request_id: str
    request: ChatRequest
    completion: ChatCompletion


class Item(msgspec.Struct, frozen=True):
    """An element of a list. `json` is what the wire shows of it."""

    id: str
    json: bytes


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Which part of a list is wanted (contract, section 1.2)."""

    after: str | None = None
    """The id of the element before the first one wanted."""
    limit: int
    order: Order = "asc"


class Slice(msgspec.Struct, Generic[T], frozen=True):
    """A page of a list. `has_more`: whether more elements follow in the chosen order."""

    items: tuple[T, ...]
    has_more: bool


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """All of them must match, exactly."""

    model: str | None = None
    metadata: tuple[tuple[str, str], ...] = ()


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """A request that carries an idempotency key (contract, section 10). `digest` is of its method and body."""

    project: str
    path: str
    key: str
    digest: bytes
    number: int = msgspec.field(default_factory=_attempts.__next__)
    """No other attempt of this process has it."""


class Settled(msgspec.Struct, frozen=True):
    """What an attempt was answered with, as whoever answers it writes it down."""

    attempt: Attempt
    answer: bytes


class Transcript(msgspec.Struct, frozen=True):
    """The words of an answer that was spoken; they can be named until `expires_at`, in Unix seconds."""

    id: str
    text: str
    expires_at: int


class CompletionStore(Protocol):
    """Stored completions. Every method raises `StorageUnavailable`, those that take an id or a page `CompletionNotFound`."""

    async def check(self) -> None:
        """Raises `StorageUnavailable` where an `add` would fail; costs nothing while the last one did not."""
        ...

    async def ping(self) -> None:
        """Raises `StorageUnavailable` where the database does not answer now, or did not take the last write."""
        ...

    @property
    def is_available(self) -> bool:
        """Whether it was when it was used last."""
        ...

    async def add(self, new: NewCompletion, settled: Settled | None = None) -> None:
        """Keep an answer, and that it settles an attempt."""
        ...

    async def get(self, project: str, id_: str) -> Item: ...

    async def update(
        self, project: str, id_: str, metadata: FrozenMap[str, str], attempt: Attempt | None = None
    ) -> Item:
        """Replace the metadata; what is returned settles `attempt`."""
        ...

    async def delete(self, project: str, id_: str, settled: Settled | None = None) -> None: ...

    async def list(self, project: str, filters: Filters, page: Page) -> Slice[Item]:
        """Completions by creation, ties by insertion. What was deleted keeps its place as `page.after`."""
        ...

    async def messages(self, project: str, id_: str, page: Page) -> Slice[Item]:
        """The input messages of one completion, by position."""
        ...

    async def keep_transcripts(self, project: str, transcripts: Sequence[Transcript]) -> None: ...

    async def transcript(self, project: str, id_: str) -> str | None:
        """None: there never was one of that name, or it has expired."""
        ...

    async def claim(self, attempt: Attempt) -> bytes | None:
        """Take the key of an attempt: None, or the answer that settled it before.

        Raises `IdempotencyKeyInUse`, `IdempotencyKeyReused`.
        """
        ...

    async def settle(self, settled: Settled) -> None:
        """Keep what a claimed attempt was answered with, where nothing else is kept of it."""
        ...

    async def release(self, attempt: Attempt) -> None:
        """Give up a claim, if it is still held."""
        ...
