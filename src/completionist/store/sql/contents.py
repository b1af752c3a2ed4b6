"""Rows of files beside the contents they promise. Blocks."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import delete, select

from completionist.store.directory import FileDirectory
from completionist.store.sql.database import Database
from completionist.store.sql.migrate import revision
from completionist.store.sql.tables import REVISION, files

_ROWS = 500
"""Held at a time."""


def ids_of(database: Database, project: str) -> list[str]:
    """The files of a project."""
    with database.reading() as connection:
        return list(connection.execute(select(files.c.id).where(files.c.project == project)).scalars())


def faults(database: Database, directory: FileDirectory, *, with_digests: bool) -> Iterator[str]:
    """Files whose content is missing or another one, a line each. Without digests only sizes are compared.

    Nothing can be said of another schema, which `inspection.faults` names.
    """
    wanted = select(files.c.id, files.c.n_bytes, files.c.sha256).execution_options(yield_per=_ROWS)
    with database.reading() as connection:
        if revision(connection) != REVISION:
            return
        for id_, n_bytes, sha256 in connection.execute(wanted):
            if (size_bytes := directory.size_bytes(id_)) is None:
                yield f"{id_} has no content"
            elif size_bytes != n_bytes or (with_digests and directory.sha256(id_) != sha256):
                yield f"the content of {id_} is not what was uploaded"


def back_up(copy: Database, source: FileDirectory, target: FileDirectory) -> int:
    """Put the contents of all files of `copy` into `target`; how many.

    A file that was deleted since the copy was made has no content any more, and goes from the copy too.
    """
    n_copied = 0
    with copy.writing() as connection:
        for id_ in connection.execute(select(files.c.id)).scalars().all():
            if source.copy_to(target, id_):
                n_copied += 1
            else:
                connection.execute(delete(files).where(files.c.id == id_))
    return n_copied
