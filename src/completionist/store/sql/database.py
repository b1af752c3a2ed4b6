"""One database: connections, transactions, and what its refusals mean. Everything here blocks, and runs on threads.

A transaction is a context; it is committed where the context ends. SQLite: WAL, every commit synchronised to the disk, one
writer at a time. PostgreSQL: its own defaults, with time limits, so that a server that is gone is noticed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, QueuePool, create_engine, event, exc, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection

from completionist.errors import OperatorError, StorageUnavailable
from completionist.sqlite import sqlite_driver

READERS = 4
_BUSY_TIMEOUT_S = 5.0
"""How long SQLite waits for another process that holds the database."""
_RETRY_S = 0.02
_CONNECT_TIMEOUT_S = 5
_STATEMENT_TIMEOUT_MS = 30_000
_OURS = (exc.IntegrityError, exc.ProgrammingError, exc.DataError, exc.NotSupportedError)
"""What only a mistake in this program can cause, but for the states below."""
_TAKEN_AWAY = {"42501", "42P01"}
"""PostgreSQL: a right or a table that was there when the database was opened."""


class DatabaseRefused(OperatorError):
    """The URL names nothing that can be a database, or one that this program cannot work with."""


class Database:
    """An open database; `dialect` is `sqlite` or `postgresql`."""

    def __init__(self, url: str, *, is_patient: bool = False) -> None:
        """Connects to nothing yet. `is_patient`: for commands that work through whole tables. Raises `DatabaseRefused`."""
        parsed = _parsed(url)
        self._statement_timeout_ms = 0 if is_patient else _STATEMENT_TIMEOUT_MS
        self.url = parsed
        self.dialect = parsed.get_backend_name()
        self.is_sqlite = self.dialect == "sqlite"
        self.has_sound_wal = True
        """False: a SQLite whose write-ahead log can corrupt a database; it runs with the older journal."""
        self._inode: int | None = None
        self._snapshot = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        self._engine = self._sqlite() if self.is_sqlite else self._postgresql()

    @property
    def file(self) -> Path | None:
        """Of a SQLite database."""
        return Path(self.url.database) if self.is_sqlite and self.url.database else None

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One snapshot. Raises `StorageUnavailable`."""
        with _translated():
            self._check_file()
            with self._engine.connect().execution_options(**self._snapshot) as connection, connection.begin():
                yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that is committed, or has not happened. Raises `StorageUnavailable`."""
        with _translated():
            self._check_file()
            with self._engine.connect().execution_options(writes=True) as connection, connection.begin():
                yield connection

    @contextmanager
    def bare(self) -> Iterator[Connection]:
        """Without a transaction, for what the database does in none. Raises `StorageUnavailable`."""
        with _translated():
            self._check_file()
            with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT", is_bare=True) as connection:
                yield connection

    def close(self) -> None:
        self._engine.dispose()

    def _check_file(self) -> None:
        """Connections to a file that was moved away would go on with it, and nobody would find what they write.

        Raises `FileNotFoundError`. A file that was put in its place is taken.
        """
        if self.file is None:
            return
        if self._inode is None:
            _make_private(self.file)
        inode = self.file.stat().st_ino
        if inode != self._inode:
            self._engine.dispose()
            self._inode = inode

    def _sqlite(self) -> Engine:
        driver = sqlite_driver()
        self.has_sound_wal = has_sound_wal(driver.sqlite_version_info)
        engine = create_engine(
            self.url,
            module=driver,
            poolclass=QueuePool,
            pool_size=READERS + 1,
            max_overflow=0,
            connect_args={"check_same_thread": False, "timeout": _BUSY_TIMEOUT_S},
        )
        event.listen(engine, "connect", _prepared("WAL" if self.has_sound_wal else "DELETE", driver.OperationalError))
        event.listen(engine, "begin", _begin)
        return engine

    def _postgresql(self) -> Engine:
        return create_engine(
            self.url,
            pool_size=2 * READERS,
            max_overflow=0,
            pool_pre_ping=True,
            connect_args={
                "connect_timeout": _CONNECT_TIMEOUT_S,
                "tcp_user_timeout": _STATEMENT_TIMEOUT_MS,
                "options": f"-c statement_timeout={self._statement_timeout_ms} -c lock_timeout={_STATEMENT_TIMEOUT_MS}",
                "application_name": "completionist",
            },
        )


def has_sound_wal(version: tuple[int, ...]) -> bool:
    """Whether this SQLite has the mend for the write-ahead log that is reset while another connection writes it.

    The fault was there from 3.7.0 on; 3.51.3 mended it, and 3.50.7 and 3.44.6 of the older lines.
    """
    return version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (exc.ArgumentError, ValueError):
        raise DatabaseRefused(
            "a database is named by a URL (store.url, for one): sqlite:///path or postgresql://user@host/name"
        ) from None
    if parsed.get_backend_name() == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() != "sqlite" or not parsed.database or parsed.database == ":memory:":
        raise DatabaseRefused("store.url must name a SQLite file (sqlite:///path) or a PostgreSQL database")
    return parsed.set(database=str(Path(parsed.database).expanduser()))


def _make_private(file: Path) -> None:
    """Conversations are nobody else's: the file, and the directory where it has to be made, are readable by us alone."""
    if not file.exists():
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(file, os.O_CREAT | os.O_WRONLY, 0o600))


def _prepared(journal_mode: str, busy: type[Exception]) -> Callable[..., None]:
    """`busy` is what the driver raises while another process has the database."""

    def connect(connection: DBAPIConnection, _: object) -> None:
        connection.isolation_level = None  # the driver would begin by itself, too late and never at once
        _set_journal_mode(connection, journal_mode, busy)
        for pragma in ("synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
            connection.cursor().execute(f"PRAGMA {pragma}")

    return connect


def _set_journal_mode(connection: DBAPIConnection, journal_mode: str, busy: type[Exception]) -> None:
    """The first of several that open a new database sets it, and SQLite does not let the others wait for that."""
    deadline_s = time.monotonic() + _BUSY_TIMEOUT_S
    while True:
        try:
            connection.cursor().execute(f"PRAGMA journal_mode={journal_mode}")
        except busy:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(_RETRY_S)
        else:
            return


def _begin(connection: Connection) -> None:
    """A transaction that writes takes its place at once: one that read first could only fail where it met another."""
    options = connection.get_execution_options()
    if not options.get("is_bare"):
        connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("writes") else "BEGIN")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except _OURS as error:
        if getattr(error.orig, "sqlstate", None) in _TAKEN_AWAY:
            raise StorageUnavailable from error
        raise
    except (exc.DBAPIError, exc.TimeoutError, OSError) as error:
        raise StorageUnavailable from error
