"""From one database to another, table by table, with numbers and order kept; and to a file, while the server runs.

What is there already is left, so that a copy that was interrupted goes on; at the end both sides are read and compared.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, Table, func, select, text
from sqlalchemy.dialects import postgresql, sqlite

from completionist.errors import OperatorError
from completionist.store.sql.database import Database
from completionist.store.sql.migrate import migrate
from completionist.store.sql.schema import metadata
from completionist.store.sql.tables import storage_probe
from completionist.store.sql.tenant_tables import custom_voices

_ROWS = 500
"""Held at a time, and committed together."""
_VOICES = 20
"""Likewise; these are large."""

OnRows = Callable[[str, int], None]
"""Called with a table and how many of its rows have been seen."""


class CopyDiffers(OperatorError):
    """The two sides do not hold the same."""

    def __init__(self, table: str, source: Contents, target: Contents) -> None:
        reason = f"{source.n_rows} and {target.n_rows} rows" if source.n_rows != target.n_rows else "other contents"
        super().__init__(
            f"the copy of {table} differs from its source ({reason}): stop the server, so that nothing changes "
            "meanwhile, and copy into an empty database, or one that holds an earlier part of the same copy"
        )


class Contents(NamedTuple):
    """Of a table, in whatever order its rows come."""

    n_rows: int
    digest: int


def tables() -> list[Table]:
    """All that is worth keeping, those that others refer to first."""
    return [table for table in metadata.sorted_tables if table is not storage_probe]


def copy(source: Database, target: Database, on_rows: OnRows = lambda *_: None) -> dict[str, int]:
    """Copy everything and compare; rows by table. Raises `CopyDiffers`, `DatabaseRefused`, `StorageUnavailable`."""
    migrate(source)
    migrate(target)
    for table in tables():
        _copy_table(source, target, table, on_rows)
    if not target.is_sqlite:
        with target.writing() as connection:
            _continue_numbers(connection)
    return {table.name: _compared(source, target, table).n_rows for table in tables()}


def back_up(database: Database, file: Path) -> int:
    """Write a whole and consistent copy of a SQLite database to `file`, while others use it; its size in bytes.

    Raises `OperatorError`.
    """
    if not database.is_sqlite:
        raise OperatorError("PostgreSQL has its own tools for this: pg_dump, or a base backup with archived WAL")
    if file.exists():
        raise OperatorError(f"{file} is there already: name another file")
    part = file.with_name(file.name + ".part")
    try:
        part.unlink(missing_ok=True)
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with database.bare() as connection:
            connection.execute(text("VACUUM INTO :file"), {"file": str(part)})
        with part.open("rb") as copied:
            os.fsync(copied.fileno())
        part.rename(file)
        return file.stat().st_size
    except OSError as error:
        raise OperatorError(f"cannot write {part}: {error.strerror}") from None
    finally:
        part.unlink(missing_ok=True)


def contents(connection: Connection, table: Table) -> Contents:
    n_rows = total = 0
    for row in _rows(connection, table, 0):
        packed = msgspec.msgpack.encode(tuple(row))
        total += int.from_bytes(hashlib.blake2b(packed, digest_size=16).digest(), "big")
        n_rows += 1
    return Contents(n_rows, total % 2**128)


def _copy_table(source: Database, target: Database, table: Table, on_rows: OnRows) -> None:
    upsert: Any = sqlite.insert(table) if target.is_sqlite else postgresql.insert(table)
    with target.reading() as connection:
        start = _last_number(connection, table)
    seen = 0
    with source.reading() as connection:
        for rows in _rows(connection, table, start).partitions():
            with target.writing() as writing:
                writing.execute(upsert.on_conflict_do_nothing(), [row._asdict() for row in rows])
            seen += len(rows)
            on_rows(table.name, seen)


def _last_number(connection: Connection, table: Table) -> int:
    """From where a copy goes on: rows are copied by number, where they have one."""
    first = next(iter(table.primary_key.columns))
    if first.name != "sequence":
        return 0
    return connection.execute(select(func.max(first))).scalar() or 0


def _rows(connection: Connection, table: Table, start: int) -> Any:  # noqa: ANN401 (rows of any table)
    first = next(iter(table.primary_key.columns))
    n_rows = _VOICES if table is custom_voices else _ROWS
    wanted = select(table).order_by(*table.primary_key.columns).execution_options(yield_per=n_rows)
    return connection.execute(wanted.where(first >= start) if first.name == "sequence" else wanted)


def _continue_numbers(connection: Connection) -> None:
    """New rows get numbers behind those that were copied."""
    for table in tables():
        if not _numbers_itself(table):
            continue
        last = connection.execute(select(func.max(table.c.sequence))).scalar()
        if last is not None:
            connection.execute(
                text("SELECT setval(pg_get_serial_sequence(:name, 'sequence'), :last)"),
                {"name": table.name, "last": last},
            )


def _numbers_itself(table: Table) -> bool:
    """Whether the database gives its rows their numbers."""
    return table.primary_key.columns.keys() == ["sequence"] and not table.c.sequence.foreign_keys


def _compared(source: Database, target: Database, table: Table) -> Contents:
    sides: Iterator[Contents] = (_contents(database, table) for database in (source, target))
    there, here = sides
    if there != here:
        raise CopyDiffers(table.name, there, here)
    return here


def _contents(database: Database, table: Table) -> Contents:
    with database.reading() as connection:
        return contents(connection, table)
