"""`AccessBook`, `UsageBook` and `VoiceBook` on the threads of a `SqlStore`.

The tables are imported by these threads, once a database is open: a start does not wait for the database library.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from completionist.errors import StorageUnavailable
from completionist.store.access import Access
from completionist.store.sql.place import database_url
from completionist.store.sql.store import SqlStore
from completionist.store.usage import Counts, UsageOf, UsageQuery, UsageTotals
from completionist.store.voices import Style

if TYPE_CHECKING:
    from completionist.store.sql.state import State


class SqlBooks:
    """Keys, projects, blocks, usage and voices beside the stored completions."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store

    async def version(self) -> int:
        return await self._store.read(_version)

    async def load(self) -> Access:
        return await self._store.read(_load)

    async def add(self, rows: Sequence[tuple[UsageOf, Counts]]) -> None:
        await self._store.write(lambda state: _add(state, rows))

    async def report(self, query: UsageQuery) -> list[UsageTotals]:
        return await self._store.read(lambda state: _report(state, query))

    async def style(self, project: str, id_: str) -> Style | None:
        return await self._store.read(lambda state: _style(state, project, id_))


def has_usable_key(configured_url: str | None) -> bool:
    """Blocks: whether the database at this URL has a key that would let somebody in. Raises `OperatorError`."""
    from completionist.store.sql import access  # noqa: PLC0415 (see the top)
    from completionist.store.sql.database import Database  # noqa: PLC0415
    from completionist.store.sql.migrate import migrate  # noqa: PLC0415

    database = Database(database_url(configured_url))
    try:
        migrate(database)
        with database.reading() as connection:
            return access.has_usable_key(connection)
    except StorageUnavailable:
        return False
    finally:
        database.close()


def _version(state: State) -> int:
    from completionist.store.sql import access  # noqa: PLC0415

    with state.database.reading() as connection:
        return access.version(connection)


def _load(state: State) -> Access:
    from completionist.store.sql import access  # noqa: PLC0415

    with state.database.reading() as connection:
        return access.load(connection)


def _add(state: State, rows: Sequence[tuple[UsageOf, Counts]]) -> None:
    from completionist.store.sql import usage  # noqa: PLC0415

    with state.database.writing() as connection:
        usage.add(connection, rows)


def _report(state: State, query: UsageQuery) -> list[UsageTotals]:
    from completionist.store.sql import usage  # noqa: PLC0415

    with state.database.reading() as connection:
        return usage.report(connection, query)


def _style(state: State, project: str, id_: str) -> Style | None:
    from completionist.store.sql import voices  # noqa: PLC0415

    with state.database.reading() as connection:
        return voices.style(connection, project, id_)
