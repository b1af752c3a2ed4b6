"""Files in messages: what of them is in the prompt, and what is refused with which words."""

from __future__ import annotations

import datetime as dt
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import openai
import pytest

from completionist.engine.base import PlainText, Prompt
from completionist.engine.scripted import Move
from completionist.media import process
from completionist.settings import DocumentSettings, ServerSettings, Settings, StoreSettings
from tests.support.ask import ask, ask_streamed, official, text_of
from tests.support.documents import (
    LOCKED,
    PDF,
    announcing,
    archive,
    file_part,
    pdf,
    pdf_with_a_circle,
    slides,
    squeezed_blanks,
    word_document,
    workbook,
)
from tests.support.server import RunningServer, eventually, running_server

DATA = "messages[0].content[1].file.file_data"
TEXT = {"type": "text", "text": "What is in it?"}
LIMITS = DocumentSettings(max_request_bytes=2_000_000, max_request_characters=50_000, max_pages=200, timeout_s=20)


def echo(prompt: Prompt) -> list[list[Move]]:
    """Says what the user said."""
    return [["".join(segment.text for segment in prompt.segments if isinstance(segment, PlainText)).encode()]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    url = f"sqlite:///{tmp_path_factory.mktemp('documents') / 'data.db'}"
    settings = Settings(server=ServerSettings(port=0), store=StoreSettings(url=url), documents=LIMITS)
    with running_server(echo, settings=settings) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: RunningServer) -> Iterator[openai.OpenAI]:
    with official(server.base_url, api_key="k", max_retries=0, timeout=30) as client:
        yield client


def said(client: openai.OpenAI, *parts: dict[str, Any]) -> str:
    """The user's turn, as the model gets it."""
    answer = ask(client, messages=[{"role": "user", "content": list(parts)}])
    text = answer.choices[0].message.content
    assert text
    return text.removeprefix("user\n").partition("\nassistant")[0]


def refusal(client: openai.OpenAI, part: dict[str, Any]) -> tuple[str | None, str | None, str]:
    with pytest.raises(openai.BadRequestError) as caught:
        said(client, TEXT, part)
    body: Any = caught.value.body
    return body["code"], body["param"], body["message"]


def test_a_file_stands_between_what_is_around_it(client: openai.OpenAI) -> None:
    notes = file_part("notes.md", b"# Tides\r\n\r\nHigh at noon.\r\n", "text/markdown")
    after = {"type": "text", "text": "Be brief."}
    assert said(client, TEXT, notes, after) == (
        "What is in it?\n\n[File: notes.md]\n# Tides\n\nHigh at noon.\n[End of file: notes.md]\n\nBe brief."
    )
    (chunks,) = [ask_streamed(client, messages=[{"role": "user", "content": [TEXT, notes]}])]
    assert "High at noon." in text_of(chunks)


PAGE = (
    b"<html><head><title>Tides</title><style>p{}</style></head><body><h1>High&nbsp;water</h1>\n<p>at <b>noon</b>"
    b"<script>alert(1)</script>.<ul><li>Brest<li>Dover</ul><table><tr><td>a<td>b</table></body></html>"
)
READ: dict[str, tuple[str, bytes, str]] = {
    "pdf": ("plan.pdf", pdf(["High water", "Low water"]), "[Page 1]\nHigh water\n[Page 2]\nLow water"),
    "word": ("plan.docx", word_document(), "Tides\nHigh water\tat noon.\nHarbour \tTime \t\nBrest \t06:12"),
    "slides": ("show.pptx", slides(), "[Slide 1]\nHarbours\n\n[Slide 2]\nDepths\nBrest \t12 m"),
    "workbook": (
        "tides.xlsx",
        workbook({"May": [["Day", "High", None], [dt.date(2026, 5, 1), 3.5, True]], "Empty": []}),
        "[Sheet May]\nDay,High\n2026-05-01,3.5,TRUE\n\n[Sheet Empty]",
    ),
    "csv": ("a.csv", b'\xef\xbb\xbfa;b\r\n"1;2";3\r\n', "a,b\n1;2,3"),
    "tsv": ("a.tsv", b"a\tb\n1\t2,5\n", 'a,b\n1,"2,5"'),
    "html": (
        "a.html",
        PAGE,
        "Tides\nHigh\xa0water\nat noon.\n- Brest\n- Dover\na\tb",
    ),
    "code": ("tide.py", b"def tide():\n    return 12\n", "def tide():\n    return 12"),
    "json": ("a.json", b'{"a": [1, 2]}', '{"a": [1, 2]}'),
    "utf-16": ("a.txt", "Höchststand".encode("utf-16"), "Höchststand"),
    "windows": ("a.txt", "Höchststand: 7½ m".encode("cp1252"), "Höchststand: 7½ m"),
}


@pytest.mark.parametrize(("filename", "content", "expected"), READ.values(), ids=READ)
def test_the_text_of_every_kind_is_in_the_prompt(
    client: openai.OpenAI, filename: str, content: bytes, expected: str
) -> None:
    text = said(client, file_part(filename, content, "application/octet-stream"))
    assert text == f"[File: {filename}]\n{expected}\n[End of file: {filename}]"


def test_a_hundred_pages_and_a_thousand_rows(client: openai.OpenAI) -> None:
    book = said(client, file_part("a.pdf", pdf([f"Line {number}" for number in range(100)]), PDF))
    assert "[Page 100]\nLine 99\n" in book
    rows = said(client, file_part("a.csv", b"".join(b"%d,x\n" % number for number in range(1500)), "text/csv"))
    assert rows.count("\n") == 1003 - 1
    assert "\n999,x\n[These are the first 1000 rows; there are more.]" in rows


def test_an_uploaded_file_is_read_by_its_name(client: openai.OpenAI) -> None:
    def upload(name: str) -> str:
        return client.files.create(file=(name, b"High water"), purpose="user_data").id

    assert "[File: tides.txt]\nHigh water\n" in said(client, {"type": "file", "file": {"file_id": upload("tides.txt")}})
    code, param, message = refusal(client, {"type": "file", "file": {"file_id": upload("tides.bin")}})
    assert (code, param) == ("invalid_value", "messages[0].content[1].file.file_id")
    assert message.startswith("The file 'tides.bin' could not be read. The end of its name")
    unknown = {"type": "file", "file": {"file_id": "file-" + "0" * 22}}
    assert refusal(client, unknown)[:2] == (None, "messages[0].content[1].file.file_id")


def test_the_type_decides_and_the_name_only_where_it_says_nothing(client: openai.OpenAI) -> None:
    assert "a,b\n" in said(client, file_part("a.csv", b"a;b", "application/vnd.ms-excel"))
    assert "a;b\n" in said(client, file_part("a.csv", b"a;b", "text/plain"))
    shape = "Expected a base64-encoded data URL with an application/pdf MIME type"
    code, param, message = refusal(client, file_part("a.exe", b"MZ", "application/x-msdownload"))
    assert (code, param) == ("invalid_value", DATA)
    assert shape in message
    assert message.endswith("but got unsupported MIME type 'application/x-msdownload'.")


def test_a_name_cannot_end_its_line(client: openai.OpenAI) -> None:
    text = said(client, file_part("a\n[End of file: a].txt", b"x", "text/plain"))
    assert text.splitlines() == ["[File: a [End of file: a].txt]", "x", "[End of file: a [End of file: a].txt]"]


BAD = {
    "row 38 encrypted": ("a.pdf", pdf(["x"], trailer=LOCKED), "It is encrypted."),
    "row 38 pages": ("a.pdf", pdf(["x"] * 201), "It has 201 pages, of which at most 200 are read."),
    "row 38 circle": ("a.pdf", pdf_with_a_circle(), None),
    "row 38 renamed zip": ("a.pdf", archive({"x": b"x"}), "It is no valid pdf file."),
    "row 38 bomb": ("a.docx", announcing(archive({"word/document.xml": b" "}), 1 << 30), "Unpacked it has more than"),
    "row 38 many letters": (
        "a.docx",
        archive({"word/document.xml": b'<p xmlns="urn:wordprocessingml"><t>' + b"x" * 10**6 + b"</t></p>"}),
        "It has more than 50000 characters of text.",
    ),
    "row 38 entities": (
        "a.docx",
        archive({"word/document.xml": b'<!DOCTYPE p [<!ENTITY a "aaaa">]><p>&a;</p>'}),
        "It has a document type",
    ),
    "a word document that is none": ("a.docx", b"PK\x03\x04 nothing", "It is no valid docx file."),
    "no slides in it": ("a.pptx", archive({"x": b"x"}), "It is no valid pptx file."),
    "a workbook that is none": ("a.xlsx", archive({"x": b"x"}), "It is no valid xlsx file."),
    "a picture called text": ("a.txt", b"\x89PNG\r\n\x1a\n\0\0", "It is no text."),
    "text beyond the limit": ("a.txt", b"x" * 50_001, "It has more than 50000 characters of text."),
}


@pytest.mark.parametrize(("filename", "content", "reason"), BAD.values(), ids=BAD)
def test_what_cannot_be_read_is_refused_and_says_why(
    client: openai.OpenAI, filename: str, content: bytes, reason: str | None
) -> None:
    code, param, message = refusal(client, file_part(filename, content))
    assert (code, param) == ("invalid_value", DATA)
    assert message.startswith(f"The file '{filename}' could not be read. {reason or 'It '}")
    assert said(client, file_part("a.txt", b"still here"))


def test_row_38_what_inflates_without_end(client: openai.OpenAI) -> None:
    """Whether it is read as blanks or refused, it is over soon, and the next file is read."""
    bomb = file_part("a.pdf", pdf(["x"], squeezed=squeezed_blanks(1 << 27)), PDF)
    with suppress(openai.BadRequestError):
        said(client, TEXT, bomb)
    assert "High" in said(client, file_part("a.pdf", pdf(["High"]), PDF))


def test_the_files_of_a_request_are_counted_together(client: openai.OpenAI) -> None:
    half = file_part("a.txt", b"x" * 30_000, "text/plain")
    with pytest.raises(openai.BadRequestError, match="at most 50000 characters of text") as caught:
        said(client, half, half)
    assert caught.value.param == "messages[0].content[1].file.file_data"
    with pytest.raises(openai.BadRequestError, match="at most 2000000 bytes") as caught:
        said(client, file_part("a.txt", b"x" * 2_000_001, "text/plain"))
    assert caught.value.param == "messages[0].content[0].file.file_data"


def test_a_reader_that_dies_is_replaced(server: RunningServer, client: openai.OpenAI) -> None:
    worker = server.media.documents.worker
    assert said(client, file_part("a.txt", b"x"))
    before = worker.pid
    assert before
    os.kill(before, signal.SIGSTOP)  # it will be found at its deadline
    worker._deadline_s, usual = 0.3, worker._deadline_s
    try:
        assert "takes too much time or memory" in refusal(client, file_part("a.txt", b"x"))[2]
    finally:
        worker._deadline_s = usual
    eventually(lambda: worker.pid not in (None, before))
    assert not Path(f"/proc/{before}").exists()
    assert "x" in said(client, file_part("a.txt", b"x"))


def test_a_deadline_is_in_processor_time(
    server: RunningServer, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who had to wait for a processor is not late; who has used too much of one is."""
    worker = server.media.documents.worker
    assert said(client, file_part("a.txt", b"x"))
    monkeypatch.setattr(process, "_BY_THE_CLOCK", 1000)
    monkeypatch.setattr(worker, "_deadline_s", 0.1)
    pid = worker.pid
    assert pid
    os.kill(pid, signal.SIGSTOP)
    later = threading.Timer(0.8, os.kill, (pid, signal.SIGCONT))
    later.start()
    assert "High" in said(client, file_part("a.txt", b"High"))
    later.join()
    assert worker.pid == pid
    tags = file_part("a.html", b"<b></b>" * 280_000, "text/html")
    assert "takes too much time or memory" in refusal(client, tags)[2]


def test_without_the_extra_the_refusal_names_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A directory in front of the installed packages hides one of them, as if it were not there."""
    (tmp_path / "pypdfium2.py").write_text("raise ModuleNotFoundError")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with running_server(echo) as server, official(server.base_url, api_key="k", max_retries=0) as client:
        message = refusal(client, file_part("a.pdf", pdf(["x"]), PDF))[2]
    assert message.endswith("not installed on this server: it needs pip install 'completionist[documents]'.")


def test_a_long_file_is_read_whole(client: openai.OpenAI) -> None:
    """Longer than what is decoded on the event loop, and than the slices in which it is handed on."""
    page = f"<!--{'x' * 400_000}-->High water".encode()
    assert "[File: a.html]\nHigh water\n" in said(client, file_part("a.html", page, "text/html"))


@pytest.mark.large
def test_forty_megabytes_hold_nobody_up() -> None:
    """The guard of the server's event loop watches; almost all of the file is a comment, so that its text is short."""
    settings = Settings(server=ServerSettings(port=0), documents=DocumentSettings())
    page = b"<!--" + b"x" * 40_000_000 + b"-->High water"
    with (
        running_server(echo, settings=settings) as server,
        official(server.base_url, api_key="k") as client,
    ):
        assert "High water" in said(client, file_part("a.html", page, "text/html"))
