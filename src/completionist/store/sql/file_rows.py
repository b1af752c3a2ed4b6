"""`FileRows` on the threads of a `SqlStore`. An id that has not the form of one never reaches the database."""

from __future__ import annotations

from collections.abc import Iterable

from completionist import ids
from completionist.errors import FileNotFound, UnknownCursor
from completionist.store.base import Page, Slice
from completionist.store.files import StoredFile
from completionist.store.sql.store import SqlStore


class SqlFileRows:
    """The rows beside the stored completions."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store

    async def check(self) -> None:
        await self._store.check()

    async def add(self, file: StoredFile, *, max_project_bytes: int) -> None:
        await self._store.write(lambda state: state.files.add(file, max_project_bytes))

    async def get(self, project: str, id_: str) -> StoredFile:
        if not ids.is_file_id(id_):
            raise FileNotFound(id_)
        return await self._store.read(lambda state: state.files.get(project, id_))

    async def list(self, project: str, purpose: str | None, page: Page) -> Slice[StoredFile]:
        if page.after is not None and not ids.is_file_id(page.after):
            raise UnknownCursor(page.after)
        return await self._store.read(lambda state: state.files.list(project, purpose, page))

    async def delete(self, project: str, id_: str) -> None:
        if not ids.is_file_id(id_):
            raise FileNotFound(id_)
        await self._store.write(lambda state: state.files.delete(project, id_))

    async def remove_expired(self) -> tuple[str, ...]:
        return await self._store.write(lambda state: state.files.remove_expired())

    async def known(self, names: Iterable[str]) -> frozenset[str]:
        wanted = tuple(names)
        return await self._store.read(lambda state: state.files.known(wanted)) if wanted else frozenset()

    async def owner(self) -> str:
        return await self._store.write(lambda state: state.files.owner())
