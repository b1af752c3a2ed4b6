"""The seam between those who count and where usage is kept: sums for each day, project, key, model and end user."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

DAY_S = 86_400

Dimension = Literal["day", "project", "key", "model", "served_model", "end_user"]


class UsageOf(msgspec.Struct, frozen=True, kw_only=True):
    """Whose usage it is."""

    day: int
    """Its beginning in UTC, Unix seconds."""
    project: str
    key: str
    """The id of a key; empty where none was needed."""
    model: str
    """As the requests called it."""
    served_model: str
    """What answered."""
    end_user: str
    """`safety_identifier`, else `user`; empty where none was named."""


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over requests whose answers are complete, or were until their clients left."""

    requests: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    """Of these the ones read from the prompt cache."""
    output_tokens: int = 0
    reasoning_tokens: int = 0
    """Of these the ones of thinking."""

    def __add__(self, other: Counts) -> Counts:
        return Counts(**{name: getattr(self, name) + getattr(other, name) for name in self.__struct_fields__})


class UsageQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which sums are wanted. Empty: all."""

    since: int = 0
    """Days that begin at or after it, Unix seconds."""
    until: int | None = None
    """Days that begin before it."""
    projects: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    end_users: tuple[str, ...] = ()
    by: tuple[Dimension, ...] = ()
    """A sum for each combination of these."""


class UsageTotals(msgspec.Struct, frozen=True, kw_only=True):
    """A sum; what it was not asked to be told apart by is None."""

    day: int | None = None
    project: str | None = None
    key: str | None = None
    model: str | None = None
    served_model: str | None = None
    end_user: str | None = None
    counts: Counts


class UsageBook(Protocol):
    """Where it is kept. Both raise `StorageUnavailable`."""

    async def add(self, rows: Sequence[tuple[UsageOf, Counts]]) -> None:
        """Add to what is there, in one transaction."""
        ...

    async def report(self, query: UsageQuery) -> list[UsageTotals]:
        """In the order of `query.by`."""
        ...
