"""Everything of one project goes, and what is left of it is counted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Connection, Table, delete, func, select, text

from completionist.store.directory import FileDirectory
from completionist.store.sql import access, contents
from completionist.store.sql.database import Database
from completionist.store.sql.schema import metadata
from completionist.store.sql.tables import completion_messages, completions

_ROWS = 200
"""Removed together, so that a running server can write in between."""
_MAX_TRACES = 1000
_CONTENTS = "contents of files"
_READ_BYTES = 2**20

Counts = dict[str, int]
"""Rows by table, and contents of files."""


class Proof:
    """What there was and what there is. `n_traces`: ids of what was removed that the files of the database still show."""

    def __init__(self, before: Counts, after: Counts, n_traces: int | None) -> None:
        self.before = before
        self.after = after
        self.n_traces = n_traces

    @property
    def holds(self) -> bool:
        return not any(self.after.values()) and not self.n_traces


def remove_project(database: Database, directory: FileDirectory, project: str) -> Proof:
    """Remove it in small transactions, and the contents of its files behind their rows. Raises `StorageUnavailable`."""
    names = contents.ids_of(database, project)
    with database.reading() as connection:
        before = counts(connection, project)
        of_project = select(completions.c.id).where(completions.c.project == project)
        ids = list(connection.execute(of_project.limit(_MAX_TRACES)).scalars())
    for table in _tables():
        while _remove_some(database, table, project):
            pass
    _forget(database)
    before[_CONTENTS] = _n_contents(directory, names)
    for name in names:
        directory.remove(name)
    with database.reading() as connection:
        after = counts(connection, project)
    after[_CONTENTS] = _n_contents(directory, names)
    return Proof(before, after, _n_traces(database.file, ids) if database.file else None)


def counts(connection: Connection, project: str) -> Counts:
    """Rows of a project, messages among them."""
    found = {
        table.name: connection.execute(
            select(func.count()).select_from(table).where(table.c.project == project)
        ).scalar_one()
        for table in _tables()
    }
    of_project = select(completions.c.sequence).where(completions.c.project == project)
    ownerless = completion_messages.c.sequence.not_in(select(completions.c.sequence))
    messages = completion_messages.c.sequence.in_(of_project) | ownerless
    found["completion_messages"] = connection.execute(select(func.count()).where(messages)).scalar_one()
    return found


def _n_contents(directory: FileDirectory, names: Sequence[str]) -> int:
    return sum(directory.size_bytes(name) is not None for name in names)


def _tables() -> list[Table]:
    return [table for table in metadata.sorted_tables if "project" in table.c]


def _remove_some(database: Database, table: Table, project: str) -> bool:
    """Whether there was something; what belongs to a completion goes with it."""
    key = list(table.primary_key.columns)
    with database.writing() as connection:
        rows = connection.execute(select(*key).where(table.c.project == project).limit(_ROWS)).all()
        if rows:
            access.changed(connection)  # servers read it again: a key may be among the rows
        for row in rows:
            connection.execute(delete(table).where(*(column == value for column, value in zip(key, row, strict=True))))
    return bool(rows)


def _forget(database: Database) -> None:
    """SQLite overwrites what it deletes, and the log of writes is emptied here; PostgreSQL frees the place of dead rows."""
    with database.bare() as connection:
        if database.is_sqlite:
            connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
        else:
            for table in metadata.sorted_tables:
                connection.exec_driver_sql(f"VACUUM {table.name}")


def _n_traces(file: Path, ids: list[str]) -> int:
    wanted = {id_.encode() for id_ in ids}
    return sum(len(_found(path, wanted)) for path in (file, file.with_name(file.name + "-wal")) if path.exists())


def _found(path: Path, wanted: set[bytes]) -> set[bytes]:
    """Those of `wanted` that stand anywhere in a file, which is read piece by piece."""
    found: set[bytes] = set()
    tail = b""
    with path.open("rb") as file:
        while piece := file.read(_READ_BYTES):
            text_ = tail + piece
            found |= {id_ for id_ in wanted - found if id_ in text_}
            tail = text_[-64:]
    return found
