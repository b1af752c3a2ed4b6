"""Searching documents of the operator's own: the command that reads them, what is found, and what goes wrong."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import openai
import pytest

from completionist.chat.search import Query
from completionist.cli import run
from completionist.search.index import About, IndexUnusable, Stamp, find, writing
from completionist.search.passages import passages, title_of
from completionist.settings import SearchSettings, ServerSettings, Settings
from completionist.types.formats import ApproximateLocation
from tests.search.scripts import SAY, talkative
from tests.support.ask import ask, official
from tests.support.documents import pdf
from tests.support.server import RunningServer, running_server

FILES: dict[str, bytes] = {
    "notes/tides of dover.md": b"# Tides at Dover\n\nThe spring tide at Dover is 6.8 metres high.\n\n"
    + b"Filler. " * 300,
    "page.html": b"<title>Harbour opening hours</title><script>tides()</script><p>The harbour opens at seven.</p>",
    "manual.pdf": pdf(["The crane lifts nine tonnes.", "It rests on Sundays."]),
    "budget.csv": b"harbour,cost\ncrane,120\n",
    "empty.txt": b"",
    "broken.pdf": b"no pdf",
    ".hidden/secret.txt": b"The spring tide is secret.",
    ".secret.txt": b"The spring tide is secret.",
    "photo.jpg": b"spring tide",
}

Indexed = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder `docs`, and the settings beside it."""
    place = tmp_path_factory.mktemp("index")
    for path, content in FILES.items():
        file = place / "docs" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    (place / "outside.txt").write_text("The spring tide is outside.")
    (place / "docs" / "link.txt").symlink_to(place / "outside.txt")
    (place / "c.toml").write_text(f'[search]\nprovider = "index"\nindex = "{place / "documents.db"}"\n')
    return place


@pytest.fixture
def indexed(place: Path, capsys: pytest.CaptureFixture[str]) -> Indexed:
    """The command: exit code, output, and what it said beside it."""

    def call(*arguments: object) -> tuple[int, str, str]:
        code = run(["index", *map(str, arguments), "--config", str(place / "c.toml")])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture(scope="module")
def server(place: Path) -> Iterator[RunningServer]:
    run(["index", str(place / "docs"), "--config", str(place / "c.toml")])
    search = SearchSettings(provider="index", index=place / "documents.db")
    with running_server(talkative, settings=Settings(server=ServerSettings(port=0), search=search)) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: RunningServer) -> Iterator[openai.OpenAI]:
    with official(server.base_url, api_key="k", max_retries=0, timeout=30) as client:
        yield client


def answer(client: openai.OpenAI, question: str, **options: Any) -> Any:
    return ask(client, messages=[{"role": "user", "content": question}], web_search_options=options).choices[0].message


def titles(client: openai.OpenAI, question: str) -> list[str]:
    """Of what is found, in the order of its numbers."""
    shown = re.findall(r"^\[(\d+)\] (.+)$", answer(client, question).content, re.MULTILINE)
    assert [int(number) for number, _ in shown] == list(range(1, len(shown) + 1))
    return [title for _, title in shown]


def address(client: openai.OpenAI, question: str) -> tuple[str, str]:
    """Title and address of the first, as an answer cites it."""
    (annotation,) = answer(client, f"{question} {SAY}[1]").annotations
    return annotation.url_citation.title, annotation.url_citation.url


TIDES, HARBOUR, MANUAL, BUDGET = "Tides at Dover", "Harbour opening hours", "manual.pdf", "budget.csv"


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("How high is the spring tide?", [TIDES]),
        ("What does a CRANE lift", [MANUAL, BUDGET]),
        ('harbours "opening" NEAR( OR AND NOT *', [HARBOUR, BUDGET]),
        ("What is the of it", []),
        ("?!", []),
        ("unheard-of", []),
    ],
)
def test_what_is_found(client: openai.OpenAI, question: str, expected: list[str]) -> None:
    assert titles(client, question) == expected


def test_a_passage_stands_in_the_prompt_and_a_place_is_looked_for_too(client: openai.OpenAI) -> None:
    shown = answer(client, "spring tide", search_context_size="low").content
    assert "[1] Tides at Dover\n# Tides at Dover\nThe spring tide at Dover is 6.8 metres high." in shown
    assert "secret" not in shown
    assert "outside" not in shown
    assert len(shown) < 900
    place = {"type": "approximate", "approximate": {"city": "Dover"}}
    assert "[1] Tides at Dover\n" in answer(client, "unheard-of", user_location=place).content


def test_a_refresh_reads_what_changed(client: openai.OpenAI, indexed: Indexed, place: Path) -> None:
    docs = place / "docs"
    (docs / "budget.csv").write_text("mooring,cost\nbuoy,7\n")
    (docs / "page.html").unlink()
    (docs / "new.txt").write_text("Mooring is free in May.")
    code, out, err = indexed()
    assert (code, out) == (0, f"{place / 'documents.db'}: 2 read, 3 unchanged, 1 removed, 1 not read\n")
    assert "not read: broken.pdf: It is no valid pdf file.\n" in err
    assert "reading docs: 100 %" in err
    assert titles(client, "mooring costs") == ["budget.csv", "new.txt"]
    assert titles(client, "harbour") == []


def test_addresses_are_what_the_operator_says(client: openai.OpenAI, indexed: Indexed, place: Path) -> None:
    assert address(client, "How many metres high is the spring tide at Dover?") == (
        TIDES,
        "document:notes/tides%20of%20dover.md",
    )
    assert indexed("--url", "https://wiki.example/docs")[0] == 0
    assert address(client, "crane") == ("manual.pdf", "https://wiki.example/docs/manual.pdf")
    assert indexed(place / "docs")[1].endswith("0 read, 5 unchanged, 0 removed, 1 not read\n")
    assert address(client, "crane") == ("manual.pdf", "https://wiki.example/docs/manual.pdf")


def test_a_broken_index_is_an_outage(client: openai.OpenAI, server: RunningServer, place: Path) -> None:
    file = place / "documents.db"
    good = file.read_bytes()
    try:
        for bad in (b"no database at all " * 400, b""):
            file.write_bytes(bad)
            with pytest.raises(openai.InternalServerError) as caught:
                answer(client, "crane")
            assert (caught.value.status_code, caught.value.code) == (503, "search_unavailable")
        assert len(server.log_lines(event="the index of documents gave no results")) == 2
    finally:
        file.write_bytes(good)
    assert answer(client, "crane").content.count("[1]") == 1


def test_what_cannot_be_indexed_is_one_line(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE letters (text)")
    for file, folder, code, fault in (
        ("new.db", "nowhere", 2, f"{tmp_path / 'nowhere'} is no folder"),
        ("new.db", None, 2, f"{tmp_path / 'new.db'} holds nothing yet: say which folder to read"),
        ("other.db", "docs", 1, "it is another database, or one of another version; give search.index another file"),
    ):
        (tmp_path / "c.toml").write_text(f'[search]\nindex = "{tmp_path / file}"\n')
        folders = [] if folder is None else [str((place if folder == "docs" else tmp_path) / folder)]
        assert run(["index", *folders, "--config", str(tmp_path / "c.toml")]) == code
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.endswith(f"{fault}\n")
        assert said.err.count("\n") == 1
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("letters",)]


def test_without_an_index_a_search_is_refused(tmp_path: Path) -> None:
    search = SearchSettings(provider="index", index=tmp_path / "none.db")
    with (
        running_server(settings=Settings(server=ServerSettings(port=0), search=search)) as server,
        official(server.base_url, api_key="k", max_retries=0) as client,
        pytest.raises(openai.BadRequestError) as caught,
    ):
        answer(client, "crane")
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", "web_search_options")
    assert "There is no index of documents on this server yet." in caught.value.message


def test_a_search_ends_at_its_deadline(tmp_path: Path) -> None:
    file = tmp_path / "large.db"
    with writing(file) as index:
        index.set_about(About(str(tmp_path), "document:"))
        index.put("a", Stamp(1, 1), "a", ["tide tide tide tide tide"] * 3000)
    query = Query(text="tide", location=ApproximateLocation(), max_sources=1, max_characters=30)
    assert [source.text for source in find(file, query, time.monotonic() + 30)] == ["tide tide tide tide tide"]
    with pytest.raises(IndexUnusable):
        find(file, query, time.monotonic() - 1)


def test_passages_are_the_text_in_pieces_of_their_size() -> None:
    text = "One.\n\nTwo.\n \n" + "A line of a table\n" * 100 + "\n" + "x" * 2000 + "\n\n" + "Words and words. " * 100
    pieces = list(passages(text))
    assert pieces[0].startswith("One.\n\nTwo.")
    assert max(map(len, pieces)) <= 800
    assert "".join("".join(pieces).split()) == "".join(text.split())
    assert list(passages(" \n ")) == []


@pytest.mark.parametrize(
    ("text", "path", "title"),
    [
        ("\n## Tides ##\nx", "a/b.md", "Tides"),
        ("Tides\nx", "a/b.html", "Tides"),
        ("Tides\nx", "a/b.txt", "b.txt"),
        ("#!/bin/sh", "b.sh", "b.sh"),
        ("# " + "x" * 200, "b.md", "b.md"),
        ("", "b.html", "b.html"),
    ],
)
def test_titles(text: str, path: str, title: str) -> None:
    assert title_of(text, path) == title
