"""The soak in seconds, on a script in place of a model: everything is asked, and the book knows what is lost."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

from bench.mixed import Book, Finished, load, lost
from bench.soak import Held, Soak, speeds
from completionist.settings import ServerSettings, Settings, StoreSettings
from tests.support.process import short
from tests.support.server import MODEL, running_server


def test_everything_is_asked_and_what_is_lost_shows(tmp_path: Path) -> None:
    database = tmp_path / "store.db"
    settings = Settings(
        server=ServerSettings(port=0, drain_timeout_s=0), store=StoreSettings(url=f"sqlite:///{database}")
    )
    book = Book()
    with running_server(short, settings=settings) as server:
        for duration_s in (1.5, 6.0, 24.0):  # as long as this machine needs for every kind of call
            asyncio.run(load(server.url, MODEL, book, n_clients=14, duration_s=duration_s))
            if book.stored and book.deleted and book.files:
                break
        assert book.broken == []
        assert set(book.statuses) <= {200, 400, 404}
        assert book.finished
        assert book.stored
        assert book.deleted
        assert book.files
        assert asyncio.run(lost(server.url, book)) == []
        asked = {line["path"].partition("/chatcmpl")[0] for line in server.log_lines(event="request") if "path" in line}
        assert asked >= {"/v1/chat/completions", "/v1/files", "/v1/models"}

        gone, *_ = book.stored
        with sqlite3.connect(database) as connection:
            connection.execute("DELETE FROM completions WHERE id = ?", (gone,))
        book.deleted.add(next(id_ for id_ in book.stored if id_ != gone))
        book.files[next(iter(book.files))] = b"other"
        assert len(asyncio.run(lost(server.url, book))) == 3


def test_what_was_not_as_it_must_be_is_told() -> None:
    def result(**changed: object) -> Soak:
        held = {"engine": (Held(100, 20), Held(104, 20))}
        good = {"minutes": 1, "answers": {200: 9}, "tokens_per_s": (10.0, 9.9), "stored": 1, "deleted": 1, "files": 1}
        return Soak(**{**good, "lost": [], "broken": [], "held": held, **changed})  # type: ignore[arg-type]  # by name

    assert result().failures() == []
    assert len(result(answers={200: 9, 500: 1}).failures()) == 1
    assert len(result(tokens_per_s=(10.0, 9.7)).failures()) == 1
    assert len(result(lost=["one"], broken=["another"]).failures()) == 2
    assert len(result(held={"engine": (Held(100, 20), Held(106, 22))}).failures()) == 2


def test_speeds_are_those_of_the_first_and_the_last_quarter() -> None:
    finished = [Finished(at_s, 4) for at_s in (10.3, 10.5, 12.3, 14.0, 17.5)]
    assert speeds(finished, began_s=10, duration_s=8) == (4.0, 2.0)
