"""Documents that can be searched: one SQLite file with a full-text index (FTS5). Everything here blocks.

    about       the folder that was read, and what stands before the paths of its files in addresses
    documents   a row a file: path, when it was changed, title, and which passages are its
    passages    the full-text index: title and text of each piece

A document's passages have numbers that follow one another. The journal is SQLite's older one, which any version of it
keeps sound; a search meanwhile waits for no longer than a commit takes.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast
from urllib.parse import quote

import msgspec

from completionist.chat.search import Query, Source, cut
from completionist.errors import OperatorError
from completionist.sqlite import sqlite_driver

if TYPE_CHECKING:
    from sqlite3 import Connection

_APPLICATION_ID = 0x43504C58
_VERSION = 1
_BUSY_TIMEOUT_S = 5.0
_INSTRUCTIONS_BETWEEN_LOOKS = 10_000
_MAX_WORDS = 32
_PASSAGES_PER_SOURCE = 4
"""That are looked at: several of the best may be of one document."""
_LEAST_CHARACTERS = 80
"""Of one more passage, if there is that much room."""
_UNTELLING_WORDS = (
    "a about an and any are as at be been but by can did do does for from had has have how i if in into is it its me my no "
    "not of on or our please s so such t than that the their them then there these they this to us was we were what when "
    "where which who whom whose why will with would you your"
)
_UNTELLING = frozenset(_UNTELLING_WORDS.split())
"""English words that say nothing of what is asked for."""

_TABLES = f"""
    CREATE TABLE about (folder TEXT NOT NULL, prefix TEXT NOT NULL);
    CREATE TABLE documents (
        id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, changed_ns INTEGER NOT NULL, n_bytes INTEGER NOT NULL,
        title TEXT NOT NULL, first_passage INTEGER NOT NULL, last_passage INTEGER NOT NULL
    );
    CREATE VIRTUAL TABLE passages USING fts5(
        title, text, document UNINDEXED, tokenize = 'porter unicode61 remove_diacritics 2'
    );
    PRAGMA application_id = {_APPLICATION_ID};
    PRAGMA user_version = {_VERSION};
"""
_ADD_DOCUMENT = """
    INSERT INTO documents (path, changed_ns, n_bytes, title, first_passage, last_passage) VALUES (?, ?, ?, ?, ?, ?)
"""
_ADD_PASSAGE = "INSERT INTO passages (rowid, title, text, document) VALUES (?, ?, ?, ?)"
_FIND = """
    SELECT documents.path, documents.title, passages.rowid, passages.text
    FROM passages JOIN documents ON documents.id = passages.document
    WHERE passages MATCH ? ORDER BY bm25(passages, 3.0, 1.0), passages.rowid LIMIT ?
"""


class IndexUnusable(OperatorError):
    """The file is no index of this version, or cannot be used."""

    def __init__(self, file: Path, reason: str) -> None:
        super().__init__(f"{file} cannot be used as an index of documents: {reason}")


class About(msgspec.Struct, frozen=True):
    """What an index holds: the files of `folder`, whose addresses are `prefix` and their paths in it."""

    folder: str
    prefix: str


class Stamp(NamedTuple):
    """By which a file is known to be as it was."""

    changed_ns: int
    n_bytes: int


class IndexWriter:
    """Changes an index; each change is there, whole, when it returns. Use `writing`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def about(self) -> About | None:
        """None: nothing was read yet."""
        row = self._connection.execute("SELECT folder, prefix FROM about").fetchone()
        return About(*row) if row else None

    def set_about(self, about: About) -> None:
        """Documents of another folder are let go."""
        old = self.about()
        with _transaction(self._connection):
            if old is None or old.folder != about.folder:
                self._connection.execute("DELETE FROM documents")
                self._connection.execute("DELETE FROM passages")
            self._connection.execute("DELETE FROM about")
            self._connection.execute("INSERT INTO about VALUES (?, ?)", (about.folder, about.prefix))

    def stamps(self) -> dict[str, Stamp]:
        """Of all documents, by path."""
        rows = self._connection.execute("SELECT path, changed_ns, n_bytes FROM documents")
        return {path: Stamp(changed_ns, n_bytes) for path, changed_ns, n_bytes in rows}

    def put(self, path: str, stamp: Stamp, title: str, texts: Sequence[str]) -> None:
        """In place of what was there under `path`."""
        with _transaction(self._connection):
            self._remove(path)
            (first,) = self._connection.execute("SELECT coalesce(max(rowid), 0) + 1 FROM passages").fetchone()
            row = (path, *stamp, title, first, first + len(texts) - 1)
            document = self._connection.execute(_ADD_DOCUMENT, row).lastrowid
            numbered = ((number, title, text, document) for number, text in enumerate(texts, first))
            self._connection.executemany(_ADD_PASSAGE, numbered)

    def remove(self, path: str) -> None:
        with _transaction(self._connection):
            self._remove(path)

    def _remove(self, path: str) -> None:
        row = self._connection.execute("SELECT first_passage, last_passage FROM documents WHERE path = ?", (path,))
        if found := row.fetchone():
            self._connection.execute("DELETE FROM passages WHERE rowid BETWEEN ? AND ?", found)
            self._connection.execute("DELETE FROM documents WHERE path = ?", (path,))


@contextmanager
def writing(file: Path) -> Iterator[IndexWriter]:
    """The index in `file`, which is made where there is none. Raises `IndexUnusable`."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with closing(_connect(file, "rwc")) as connection:
            state = _state(connection)
            if state == "empty":
                connection.executescript(_TABLES)
            elif state == "foreign":
                raise IndexUnusable(
                    file, "it is another database, or one of another version; give search.index another file"
                )
            yield IndexWriter(connection)
    except (sqlite_driver().Error, OSError) as error:
        raise IndexUnusable(file, str(error)) from None


def find(file: Path, query: Query, deadline_s: float) -> list[Source]:
    """The best documents for `query`, with what of them fits it. `deadline_s`: on the monotonic clock.

    Raises `IndexUnusable`, also where it takes too long.
    """
    wanted = _match(query)
    if not wanted:
        return []
    try:
        with closing(_connect(file, "ro")) as connection:
            if _state(connection) != "ours":
                raise IndexUnusable(file, "it is no index of this version; completionist index makes one")
            connection.set_progress_handler(lambda: time.monotonic() > deadline_s, _INSTRUCTIONS_BETWEEN_LOOKS)
            (prefix,) = connection.execute("SELECT prefix FROM about").fetchone() or ("",)
            rows = connection.execute(_FIND, (wanted, _PASSAGES_PER_SOURCE * query.max_sources)).fetchall()
    except sqlite_driver().Error as error:
        raise IndexUnusable(file, str(error)) from None
    return list(_sources(rows, prefix, query))


def _sources(rows: Sequence[tuple[str, str, int, str]], prefix: str, query: Query) -> Iterator[Source]:
    """One for each document, in the order of its best passage; passages are shown in the order of the document."""
    documents: dict[str, list[tuple[str, str, int, str]]] = {}
    for row in rows:
        documents.setdefault(row[0], []).append(row)
    for path, found in list(documents.items())[: query.max_sources]:
        texts: dict[int, str] = {}
        room = query.max_characters
        for _, _, number, text in found:
            if room >= _LEAST_CHARACTERS or not texts:
                texts[number] = cut(text, room)
                room -= len(texts[number])
        shown = "\n…\n".join(texts[number] for number in sorted(texts))
        yield Source(title=found[0][1], url=prefix + quote(path), text=shown)


def _match(query: Query) -> str:
    """Any of the words, those of the user's place too."""
    place = query.location
    words = re.findall(r"\w+", " ".join(filter(None, (query.text, place.city, place.region, place.country))))
    telling = [word for word in dict.fromkeys(words) if word.lower() not in _UNTELLING]
    return " OR ".join(f'"{word}"' for word in telling[:_MAX_WORDS])


def _connect(file: Path, mode: str) -> Connection:
    uri = f"file:{quote(str(file.absolute()))}?mode={mode}"
    connected = sqlite_driver().connect(uri, uri=True, isolation_level=None, timeout=_BUSY_TIMEOUT_S)
    return cast("Connection", connected)  # either driver's


def _state(connection: Connection) -> str:
    """Whose database it is: "ours", "empty" or "foreign"."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if (application, version) == (_APPLICATION_ID, _VERSION):
        return "ours"
    (n_tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return "foreign" if n_tables or application else "empty"


@contextmanager
def _transaction(connection: Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
