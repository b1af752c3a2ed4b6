"""One escaped line for each event, and never what people say to each other."""

from __future__ import annotations

import io
import logging
import threading
from typing import Literal

import pytest

from completionist.log import emit, emit_exception, escape, logging_to
from completionist.settings import LogSettings
from tests.conftest import Serve
from tests.support import raw

_logger = logging.getLogger("completionist.tests")
NASTY = "a\r\nb\x1b[31m\u202ec\x00\\"


def written(log_format: Literal["text", "json"], **fields: object) -> str:
    stream = io.StringIO()
    with logging_to(stream, LogSettings(format=log_format)):
        emit(_logger, logging.INFO, "event", **fields)
    return stream.getvalue()


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_values_are_escaped(log_format: Literal["text", "json"]) -> None:
    (line,) = written(log_format, name=NASTY).splitlines()
    assert line.isprintable()
    assert "\u202e" not in line


def test_text_quotes_what_has_blanks_and_cuts_what_is_long() -> None:
    line = written("text", plain="x", blank="a b", quote='a"', empty="", nothing=None, long="y" * 2000)
    assert 'info event plain=x blank="a b" quote="a\\"" empty="" long=' in line
    assert "nothing" not in line
    assert "y" * 512 + "..." in line
    assert "y" * 513 not in line


def test_escaping_is_reversible_and_leaves_text_alone() -> None:
    assert escape("Grüße 🌊") == "Grüße 🌊"
    assert escape(NASTY).encode().decode("unicode_escape") == NASTY


def test_exceptions_are_one_line() -> None:
    stream = io.StringIO()
    with logging_to(stream, LogSettings(level="error")):
        emit(_logger, logging.INFO, "too quiet")
        try:
            int("a\nb")
        except ValueError as error:
            emit_exception(_logger, "error", error, request_id="req_1")
    (line,) = stream.getvalue().splitlines()
    assert "request_id=req_1" in line
    assert "Traceback" in line


def test_a_stuck_log_loses_lines_and_delays_nobody() -> None:
    class Stuck(io.StringIO):
        def write(self, text: str) -> int:
            released.wait(timeout=30)
            return super().write(text)

    released, stream = threading.Event(), Stuck()
    with logging_to(stream, LogSettings()):
        for _ in range(10_100):
            emit(_logger, logging.INFO, "event")
        released.set()
    assert 10_000 <= len(stream.getvalue().splitlines()) < 10_100


def test_one_access_line_and_no_content(serve: Serve) -> None:
    server = serve(lambda _: [[b"SECRET-ANSWER"]])
    messages = [{"role": "user", "content": "SECRET-QUESTION"}]
    body = raw.chat(messages=messages, user="u-17", metadata={"a": "SECRET-META"})
    reply = raw.send(server.port, raw.request("POST", "/v1/chat/completions?SECRET-QUERY", body=body))
    line = server.access_line(reply.headers["x-request-id"])
    assert (
        line.items()
        >= {
            "method": "POST",
            "path": "/v1/chat/completions",
            "status": 200,
            "outcome": "completed",
            "project": "default",
            "model": "scripted",
            "completion_tokens": 2,
            "client": "127.0.0.1",
        }.items()
    )
    assert line["duration_ms"] >= 0
    assert "SECRET" not in str(server.log_lines())


def test_what_clients_send_is_escaped(serve: Serve) -> None:
    server = serve()
    reply = raw.send(server.port, raw.request("POST", "/v1/chat/completions", body=raw.chat(model="x" + NASTY)))
    assert reply.status == 404
    assert server.access_line(reply.headers["x-request-id"])["model"] == escape("x" + NASTY)
    reply = raw.send(server.port, raw.request("GET", "/%0d%0aINFO%20forged%1b[31m"))
    assert server.access_line(reply.headers["x-request-id"])["path"] == "/%0d%0aINFO%20forged%1b[31m"


@pytest.mark.parametrize("stream", [False, True])
def test_the_end_user_is_named_in_the_access_log(serve: Serve, stream: bool) -> None:
    server = serve()
    for fields, named in (({"user": "u"}, "u"), ({"user": "u", "safety_identifier": NASTY}, escape(NASTY)), ({}, None)):
        body = raw.chat(**fields, stream=stream)
        reply = raw.push(server.port, raw.request("POST", "/v1/chat/completions", "Connection: close", body=body))
        assert reply is not None
        assert reply.status == 200
        line = server.access_line(reply.headers["x-request-id"])
        assert line.get("end_user") == named
