"""Clients that leave, wait, or do not read."""

from __future__ import annotations

import math

import msgspec
import pytest

from completionist.engine.base import Prompt
from completionist.engine.scripted import CARD, Move, Pause
from completionist.settings import EngineSettings, Settings
from tests.conftest import Serve
from tests.support import raw
from tests.support.server import SETTINGS, RunningServer, eventually

CREATE = "/v1/chat/completions"


def endless(prompt: Prompt) -> list[list[Move]]:
    return [[b"x"] * 100_000] * prompt.n


def held(prompt: Prompt) -> list[list[Move]]:
    """Says a word and then nothing, for ever."""
    return [[b"word", Pause(math.inf)]] * prompt.n


def server_settings(**changes: float) -> Settings:
    return SETTINGS.model_copy(update={"server": SETTINGS.server.model_copy(update=changes)})


def ask(stream: bool, **fields: object) -> bytes:
    return raw.request("POST", CREATE, body=raw.chat(stream=stream, **fields))


def check_freed(server: RunningServer, n: int = 1) -> None:
    eventually(lambda: server.engine.n_cancelled == n)
    assert server.engine.stats.running == server.engine.stats.waiting == 0
    eventually(lambda: server.metric("requests_cancelled_total") == n)
    lines = eventually(lambda: server.log_lines(event="request", outcome="cancelled"))
    assert len(lines) == n


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("script", [held, endless])
def test_leaving_frees_the_engine(serve: Serve, stream: bool, script: type[object]) -> None:
    server = serve(script, step_s=0.001)
    with raw.connection(server.port) as sock:
        sock.sendall(ask(stream, max_tokens=7000, n=2))
        eventually(lambda: server.engine.stats.running == 1)
        if stream:
            assert raw.read_head(sock).status == 200
    check_freed(server)
    server.engine._script = lambda _: [[b"next"]]
    assert raw.send(server.port, ask(stream=False)).status == 200


@pytest.mark.parametrize("stream", [False, True])
def test_leaving_the_queue(serve: Serve, stream: bool) -> None:
    server = serve(held)
    server.engine.card = CARD.__class__(
        **{name: getattr(CARD, name) for name in CARD.__struct_fields__} | {"streams": 1}
    )
    with raw.connection(server.port) as first:
        first.sendall(ask(stream=True))
        eventually(lambda: server.engine.stats.running == 1)
        with raw.connection(server.port) as second:
            second.sendall(ask(stream))
            eventually(lambda: server.engine.stats.waiting == 1)
        eventually(lambda: server.engine.stats.waiting == 0)
        assert server.engine.stats.running == 1


def test_a_client_that_half_closes_has_left(serve: Serve) -> None:
    server = serve(held)
    with raw.connection(server.port) as sock:
        sock.sendall(ask(stream=False))
        eventually(lambda: server.engine.stats.running == 1)
        sock.shutdown(1)
        check_freed(server)


def test_leaving_while_sending_is_no_error(serve: Serve) -> None:
    server = serve()
    with raw.connection(server.port) as sock:
        sock.sendall(raw.request("POST", CREATE, "Content-Length: 1000", body=b"{"))
    (line,) = eventually(lambda: server.log_lines(event="request"))
    assert (line["outcome"], line.get("status")) == ("cancelled", None)


def test_a_silent_stream_is_kept_alive(serve: Serve) -> None:
    server = serve(held, settings=server_settings(keep_alive_s=0.02))
    with raw.connection(server.port) as sock:
        sock.sendall(ask(stream=True))
        received = b""
        while received.count(b": keep-alive\n\n") < 3:
            received += sock.recv(65536)
    assert received.index(b'"content":"word"') < received.index(b"\n: keep-alive")


def test_a_stream_that_waits_for_its_turn_is_kept_alive(serve: Serve) -> None:
    """As one does whose long prompt is being processed: it was accepted, and has nothing to say yet."""
    card = msgspec.structs.replace(CARD, streams=1)
    server = serve(held, settings=server_settings(keep_alive_s=0.02), card=card)
    with raw.connection(server.port) as first, raw.connection(server.port) as second:
        first.sendall(ask(stream=True))
        eventually(lambda: server.engine.stats.running == 1)
        second.sendall(ask(stream=True))
        received = b""
        while received.count(b": keep-alive\n\n") < 3:
            received += second.recv(65536)
    assert received.startswith(b"HTTP/1.1 200 OK")
    assert b'"content":"word"' not in received


def test_the_status_line_waits_for_the_place_in_the_queue(serve: Serve) -> None:
    settings = SETTINGS.model_copy(update={"engine": EngineSettings(queue_requests=0)})
    server = serve(held, settings=settings)
    streams = server.engine.card.streams
    connections = [raw.connection(server.port) for _ in range(streams)]
    sockets = [connection.__enter__() for connection in connections]
    for sock in sockets:
        sock.sendall(ask(stream=True))
    eventually(lambda: server.engine.stats.running == streams)
    reply = raw.send(server.port, ask(stream=True))
    assert (reply.status, reply.error["code"]) == (503, "server_is_overloaded")
    assert reply.error["type"] == "service_unavailable_error"
    assert 1 <= int(reply.headers["retry-after"]) <= 120
    for connection in connections:
        connection.__exit__(None, None, None)
    check_freed(server, streams)


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_nobody_reads_is_dropped(serve: Serve, stream: bool) -> None:
    """50 clients that never read; the others get their answers, and memory holds no more than a buffer for each."""
    long_text = [b"x" * (20 if stream else 1000)] * 1500
    server = serve(lambda p: [long_text if p.n == 2 else [b"ok"]] * p.n, settings=server_settings(send_timeout_s=0.5))
    n = 50 if stream else 3
    connections = [raw.connection(server.port, receive_buffer_bytes=4096) for _ in range(n)]
    sockets = [connection.__enter__() for connection in connections]
    for sock in sockets:
        sock.sendall(ask(stream, n=2, max_tokens=1500 if stream else 400))
    assert raw.send(server.port, ask(stream=False)).status == 200
    eventually(lambda: len(server.services.drain._work) == 0 and server.metric("connections_closed_unread_total") == n)
    for connection in connections:
        connection.__exit__(None, None, None)
    assert raw.send(server.port, ask(stream=False)).status == 200
