"""Whether a database holds together: its schema, its pages, and the rows that belong to one another. Reads only, row by row."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from sqlalchemy import Connection, exists, func, select, text

from completionist.store.sql.database import Database
from completionist.store.sql.migrate import revision
from completionist.store.sql.tables import REVISION, completion_messages, completion_metadata, completions

_ROWS = 500
"""Held at a time."""


def faults(database: Database) -> Iterator[str]:
    """What is wrong, a line each. Raises `StorageUnavailable`."""
    with database.reading() as connection:
        found = revision(connection)
        if found != REVISION:
            yield f"its schema is {found or 'missing'}, this program's is {REVISION}: run completionist db migrate"
            return
        if database.is_sqlite:
            yield from _sqlite_faults(connection)
        yield from _row_faults(connection)


def _sqlite_faults(connection: Connection) -> Iterator[str]:
    for (line,) in connection.execute(text("PRAGMA integrity_check")):
        if line != "ok":
            yield str(line)
    for table, row, *_ in connection.execute(text("PRAGMA foreign_key_check")):
        yield f"row {row} of {table} belongs to nothing"


def _row_faults(connection: Connection) -> Iterator[str]:
    lonely = ~exists().where(completion_messages.c.sequence == completions.c.sequence)
    for id_ in connection.execute(select(completions.c.id).where(lonely)).scalars():
        yield f"{id_} has no messages"
    n_pairs = (
        select(func.count())
        .where(completion_metadata.c.sequence == completions.c.sequence)
        .correlate(completions)
        .scalar_subquery()
    )
    rows = connection.execute(
        select(completions.c.id, completions.c.document, completions.c.metadata, n_pairs).execution_options(
            yield_per=_ROWS
        )
    )
    for id_, document, metadata, count in rows:
        try:
            is_right = msgspec.json.decode(document)["id"] == id_ and len(msgspec.json.decode(metadata)) == count
        except (msgspec.DecodeError, KeyError, TypeError):
            is_right = False
        if not is_right:
            yield f"{id_} is not what was stored"
