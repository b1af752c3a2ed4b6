"""Both kinds of database, seen past every part of ours."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, closing

import pysqlite3

from tests.support.postgres import Postgres

KINDS = ("sqlite", "postgresql")

Loss = Callable[[str], AbstractContextManager[None]]
"""Takes the database at a URL away, and brings it back."""


class KindOfDatabase:
    """Makes databases of one kind and asks them."""

    def __init__(self, new_url: Callable[[], str], postgres: Postgres | None) -> None:
        self.new_url = new_url
        self.is_postgres = postgres is not None
        self._postgres = postgres

    def query(self, url: str, sql: str) -> list[tuple[str, ...]]:
        """The rows that `sql` answers, as text; None is an empty string."""
        if self._postgres is not None:
            return [tuple(line.split("|")) for line in self._postgres.query(url, sql).splitlines()]
        with closing(pysqlite3.connect(url.removeprefix("sqlite:///"), timeout=10)) as connection, connection:
            rows = connection.execute(sql).fetchall()
        return [tuple("" if value is None else str(value) for value in row) for row in rows]

    def count(self, url: str, table: str) -> int:
        ((n_rows,),) = self.query(url, f"SELECT count(*) FROM {table}")  # noqa: S608 (names of ours)
        return int(n_rows)
