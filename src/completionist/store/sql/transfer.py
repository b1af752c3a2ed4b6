"""Stored completions as JSON lines, out and in again; never more than a page of them in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from completionist.errors import OperatorError
from completionist.store.base import Filters, Page
from completionist.store.sql import completions
from completionist.store.sql.completions import Record, Retention
from completionist.store.sql.database import Database
from completionist.store.sql.shapes import NoCompletion, Shape, records, written

_PAGE = 100
_COMMITTED = 200
_FOR_EVER = Retention(None)


class TakenElsewhere(OperatorError):
    """Ids are unique over all projects."""

    def __init__(self, id_: str, project: str) -> None:
        super().__init__(f"{id_} is stored in project {project} of this database already: import into another database")


class Line(NamedTuple):
    """What one completion becomes. `id`: where an export that was interrupted goes on, as its `after`."""

    id: str
    text: bytes


def dump(database: Database, project: str, shape: Shape, filters: Filters, after: str | None = None) -> Iterator[Line]:
    """In the order of lists, oldest first. Raises `StorageUnavailable`, `CompletionNotFound` for `after`."""
    while True:
        with database.reading() as connection:
            page = completions.page(connection, project, filters, Page(after=after, limit=_PAGE), _FOR_EVER)
            said = completions.conversations(connection, [item.id for item in page.items])
        for item in page.items:
            yield Line(item.id, b"".join(written(shape, item.json, said[item.id])))
        if not page.has_more:
            return
        after = page.items[-1].id


def load(database: Database, project: str, lines: Iterable[bytes], model: str | None) -> Iterator[tuple[int, int]]:
    """Store lines of any shape in a project; what is there already is left. Yields how many were added and left so far.

    Raises `NoCompletion` with the lines before it stored, `TakenElsewhere`, `StorageUnavailable`.
    """
    added = left = 0
    batch: list[Record] = []
    try:
        for record in records(lines, model):
            batch.append(record)
            if len(batch) == _COMMITTED:
                n_added = _add(database, project, batch)
                added, left, batch = added + n_added, left + len(batch) - n_added, []
                yield added, left
    except NoCompletion:
        _add(database, project, batch)
        raise
    n_added = _add(database, project, batch)
    yield added + n_added, left + len(batch) - n_added


def _add(database: Database, project: str, records: list[Record]) -> int:
    """How many were not there. Raises `TakenElsewhere`."""
    with database.writing() as connection:
        owners = completions.owners(connection, [record.id for record in records])
        for id_, owner in owners.items():
            if owner != project:
                raise TakenElsewhere(id_, owner)
        new = {record.id: record for record in records if record.id not in owners}
        completions.forget_places(connection, list(new))
        for record in new.values():
            completions.insert_record(connection, project, record)
    return len(new)
