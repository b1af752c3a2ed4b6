"""The table of files. Every method is one transaction, and blocks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, Select, delete, func, insert, literal, or_, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite

from completionist import ids
from completionist.errors import FileNotFound, ProjectStorageFull, UnknownCursor
from completionist.store.base import Page, Slice
from completionist.store.files import StoredFile
from completionist.store.sql.database import Database
from completionist.store.sql.tables import deleted_files, files, files_owner

_SHOWN = [files.c[name] for name in StoredFile.__struct_fields__]
_PLACE = (files.c.created_at, files.c.sequence)
_CURSOR_S = 86_400
"""How long a deleted file keeps its place as a cursor."""
_SWEPT_ROWS = 200


class FileTable:
    """Which files there are, in one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, file: StoredFile, max_project_bytes: int) -> None:
        """Raises `ProjectStorageFull`."""
        taken = select(func.coalesce(func.sum(files.c.n_bytes), 0)).where(files.c.project == file.project)
        with self._database.writing() as connection:
            if connection.execute(taken).scalar_one() + file.n_bytes > max_project_bytes:
                raise ProjectStorageFull(max_project_bytes)
            connection.execute(insert(files).values(msgspec.structs.asdict(file) | {"filename": _json(file.filename)}))

    def get(self, project: str, id_: str) -> StoredFile:
        """Raises `FileNotFound`."""
        with self._database.reading() as connection:
            row = connection.execute(_living(project).where(files.c.id == id_)).first()
        if row is None:
            raise FileNotFound(id_)
        return _file(row)

    def list(self, project: str, purpose: str | None, page: Page) -> Slice[StoredFile]:
        """Raises `UnknownCursor`."""
        wanted = _living(project).limit(page.limit + 1)
        if purpose is not None:
            wanted = wanted.where(files.c.purpose == purpose)
        wanted = wanted.order_by(*(column.asc() if page.order == "asc" else column.desc() for column in _PLACE))
        with self._database.reading() as connection:
            if page.after is not None:
                cursor = tuple_(*map(literal, _place(connection, project, page.after)))
                wanted = wanted.where(tuple_(*_PLACE) > cursor if page.order == "asc" else tuple_(*_PLACE) < cursor)
            rows = connection.execute(wanted).all()
        return Slice(tuple(map(_file, rows[: page.limit])), len(rows) > page.limit)

    def delete(self, project: str, id_: str) -> None:
        """Raises `FileNotFound`."""
        with self._database.writing() as connection:
            row = connection.execute(_living(project).where(files.c.id == id_).with_for_update()).first()
            if row is None:
                raise FileNotFound(id_)
            _remove(connection, [id_])

    def remove_expired(self) -> tuple[str, ...]:
        """A batch of expired files, and the places of those that were deleted long ago; which files they were."""
        now_s = ids.now_s()
        expired = select(files.c.id).where(files.c.expires_at <= now_s).order_by(files.c.expires_at).limit(_SWEPT_ROWS)
        with self._database.writing() as connection:
            connection.execute(delete(deleted_files).where(deleted_files.c.deleted < now_s - _CURSOR_S))
            names = connection.execute(expired.with_for_update(skip_locked=True)).scalars().all()
            _remove(connection, names)
        return tuple(names)

    def known(self, names: Iterable[str]) -> frozenset[str]:
        """Which of these are files, of any project, expired or not."""
        with self._database.reading() as connection:
            return frozenset(connection.execute(select(files.c.id).where(files.c.id.in_(list(names)))).scalars())

    def owner(self) -> str:
        """The name by which a directory knows this database. Not the schema's: a copy of the database keeps it."""
        with self._database.writing() as connection:
            name: str | None = connection.execute(select(files_owner.c.name)).scalar()
            if name is None:
                connection.execute(self._naming().on_conflict_do_nothing())
                name = connection.execute(select(files_owner.c.name)).scalar_one()
        return name

    def _naming(self) -> Any:  # noqa: ANN401 (each dialect has a type of its own)
        dialect = sqlite if self._database.is_sqlite else postgresql
        return dialect.insert(files_owner).values(id=1, name=ids.database_name())


def _living(project: str) -> Select[Any]:
    is_living = or_(files.c.expires_at.is_(None), files.c.expires_at > ids.now_s())
    return select(*_SHOWN).where(files.c.project == project, is_living)


def _place(connection: Connection, project: str, after: str) -> tuple[int, int]:
    for table in (files, deleted_files):
        wanted = select(table.c.created_at, table.c.sequence).where(table.c.id == after, table.c.project == project)
        if row := connection.execute(wanted).first():
            return row.created_at, row.sequence
    raise UnknownCursor(after)


def _remove(connection: Connection, names: Iterable[str]) -> None:
    """Only their places in the order are kept for a while."""
    are_these = files.c.id.in_(list(names))
    place = [files.c.id, files.c.project, files.c.created_at, files.c.sequence, literal(ids.now_s())]
    columns = ["id", "project", "created_at", "sequence", "deleted"]
    connection.execute(insert(deleted_files).from_select(columns, select(*place).where(are_these)))
    connection.execute(delete(files).where(are_these))


def _file(row: Row[Any]) -> StoredFile:
    return StoredFile(**{**row._mapping, "filename": msgspec.json.decode(row.filename)})


def _json(text: str) -> str:
    """Clients choose it, and JSON writes what a database refuses as an escape."""
    return msgspec.json.encode(text).decode()
