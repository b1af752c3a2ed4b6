"""HTTP as hostile or careless clients speak it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from completionist.api.protocol import MAX_HEADERS, MAX_URL_BYTES
from completionist.settings import Settings
from tests.conftest import Serve
from tests.support import raw
from tests.support.server import SETTINGS, RunningServer, eventually, running_server

CREATE = "/v1/chat/completions"
RECEIPT_TIMEOUT_S = 0.4


def limited(**limits: float) -> Settings:
    sizes = {"max_header_bytes": 16_384, "max_body_bytes": 65_536}
    return SETTINGS.model_copy(update={"server": SETTINGS.server.model_copy(update={**sizes, **limits})})


@pytest.fixture(scope="module")
def limited_server() -> Iterator[RunningServer]:
    with running_server(settings=limited()) as server:
        yield server


@pytest.fixture(scope="module")
def hurried_server() -> Iterator[RunningServer]:
    """For clients that are too slow, and for them alone: any may be on a busy machine."""
    with running_server(settings=limited(receipt_timeout_s=RECEIPT_TIMEOUT_S)) as server:
        yield server


def closes_with(server: RunningServer, *parts: bytes, every_s: float = 0.0) -> raw.Reply | None:
    return raw.push(server.port, *parts, every_s=every_s)


def check_refusal(server: RunningServer, reply: raw.Reply | None, status: int) -> None:
    assert reply is not None
    assert (reply.status, reply.headers["connection"], reply.error["param"]) == (status, "close", None)
    assert reply.error["type"] == "invalid_request_error"
    line = server.access_line(reply.headers["x-request-id"])
    assert (line["status"], line["outcome"]) == (status, "refused")
    assert reply.headers["openai-version"] == "2020-10-01"


@pytest.mark.parametrize(
    "headers",
    [
        ("x-long: " + "x" * 100_000,),
        tuple(f"x-{i}: y" for i in range(1000)),
        tuple(f"x-{i}: {'y' * 200}" for i in range(MAX_HEADERS - 10)),
    ],
    ids=["one long header", "many headers", "a large block"],
)
def test_headers_are_bounded(limited_server: RunningServer, headers: tuple[str, ...]) -> None:
    check_refusal(limited_server, closes_with(limited_server, raw.request("GET", "/health", *headers)), 431)


def test_a_header_that_never_ends_is_cut_off(limited_server: RunningServer) -> None:
    parts = [b"GET /health HTTP/1.1\r\nHost: localhost\r\nx-long: ", *[b"y" * 4096] * 256]
    reply = closes_with(limited_server, *parts)
    assert reply is None or reply.status == 431  # None: the reset overtook the answer
    assert raw.send(limited_server.port, raw.request("GET", "/health")).status == 200


def test_urls_are_bounded(limited_server: RunningServer) -> None:
    check_refusal(limited_server, closes_with(limited_server, raw.request("GET", "/" + "x" * MAX_URL_BYTES)), 414)
    assert raw.send(limited_server.port, raw.request("GET", "/" + "x" * (MAX_URL_BYTES - 1))).status == 404


@pytest.mark.parametrize(
    "sent",
    [
        b"HELLO\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nbad header\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused(limited_server: RunningServer, sent: bytes) -> None:
    reply = closes_with(limited_server, sent)
    check_refusal(limited_server, reply, 400)
    assert reply is not None
    assert reply.error["message"] == "The request is not valid HTTP."


def test_a_broken_body_is_refused_while_the_handler_waits_for_it(limited_server: RunningServer) -> None:
    head = raw.request("POST", CREATE, "Transfer-Encoding: chunked", "Content-Type: application/json")
    check_refusal(
        limited_server, closes_with(limited_server, head, b"5\r\nhello\r\n", b"not a length\r\n", every_s=0.02), 400
    )


def test_slow_headers_end_at_the_deadline(hurried_server: RunningServer) -> None:
    began_s = time.monotonic()
    reply = closes_with(hurried_server, *[bytes([c]) for c in raw.request("GET", "/health")], every_s=0.05)
    assert time.monotonic() - began_s >= RECEIPT_TIMEOUT_S
    check_refusal(hurried_server, reply, 408)


def test_a_slow_body_ends_at_the_deadline(hurried_server: RunningServer) -> None:
    parts = [raw.request("POST", CREATE, "Content-Length: 60", "Content-Type: application/json"), *[b" "] * 60]
    reply = closes_with(hurried_server, *parts, every_s=0.05)
    check_refusal(hurried_server, reply, 408)


def test_a_slow_body_after_the_answer_ends_at_the_deadline(hurried_server: RunningServer) -> None:
    parts = [raw.request("POST", "/nowhere", "Content-Length: 60"), *[b" "] * 60]
    reply = closes_with(hurried_server, *parts, every_s=0.05)
    assert reply is None or reply.status == 404


def test_silent_connections_are_closed(hurried_server: RunningServer) -> None:
    assert closes_with(hurried_server) is None
    with raw.connection(hurried_server.port) as sock:
        sock.sendall(raw.request("GET", "/health"))
        assert raw.read_reply(sock).status == 200
        sock.sendall(b"\r\n")
        assert raw.read_to_end(sock) == b""


def test_a_connection_serves_one_request_after_another(limited_server: RunningServer) -> None:
    with raw.connection(limited_server.port) as sock:
        for _ in range(3):
            sock.sendall(raw.request("POST", CREATE, body=raw.chat()))
            assert raw.read_reply(sock).status == 200
            sock.sendall(raw.request("POST", "/nowhere", body=b"x" * 1000))
            assert raw.read_reply(sock).status == 404


@pytest.mark.parametrize("extra", [b'"}]}', raw.request("POST", CREATE, body=raw.chat()), b"\x00" * 100_000])
def test_bytes_behind_a_request_are_not_another_one(serve: Serve, extra: bytes) -> None:
    server = serve(settings=limited(), step_s=0.01)
    reply = closes_with(server, raw.request("POST", CREATE, body=raw.chat(max_tokens=5)) + extra)
    assert reply is not None
    assert (reply.status, reply.headers["connection"]) == (200, "close")
    assert reply.body.count(b"chat.completion") == 1
    assert len(eventually(lambda: server.log_lines(event="request"))) == 1


def test_trailers_do_not_become_headers(limited_server: RunningServer) -> None:
    body = raw.chat()
    chunked = b"%x\r\n%b\r\n0\r\nX-Client-Request-Id: %b\r\n\r\n" % (len(body), body, b"x" * 600)
    head = raw.request("POST", CREATE, "Transfer-Encoding: chunked", "Content-Type: application/json")
    assert raw.send(limited_server.port, head + chunked).status == 200


def test_trailers_are_bounded(limited_server: RunningServer) -> None:
    head = raw.request("POST", CREATE, "Transfer-Encoding: chunked", "Content-Type: application/json")
    trailers = [b"0\r\n", *[b"x: %b\r\n" % (b"y" * 4000)] * 6]
    check_refusal(limited_server, closes_with(limited_server, head, *trailers, every_s=0.01), 431)


@pytest.mark.parametrize("n_parts", [1, 2, 50])
def test_an_upgrade_is_not_taken_up_and_its_body_is_read(limited_server: RunningServer, n_parts: int) -> None:
    """Some clients offer HTTP/2 with every request."""
    body = raw.chat()
    offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAAAAIAAAAB")
    sent = raw.request("POST", CREATE, *offer, body=body)
    size = -(-len(sent) // n_parts)
    with raw.connection(limited_server.port) as sock:
        for start in range(0, len(sent), size):
            sock.sendall(sent[start : start + size])
            time.sleep(0.001)
        assert raw.read_reply(sock).status == 200
        sock.sendall(raw.request("GET", "/health", "Connection: Upgrade", "Upgrade: websocket"))
        assert raw.read_reply(sock).status == 200


def test_a_tunnel_is_refused(limited_server: RunningServer) -> None:
    check_refusal(limited_server, closes_with(limited_server, raw.request("CONNECT", "localhost:1")), 400)


def test_a_client_that_expects_to_be_told_is_told(limited_server: RunningServer) -> None:
    body = raw.chat()
    with raw.connection(limited_server.port) as sock:
        sock.sendall(raw.request("POST", CREATE, f"Content-Length: {len(body)}", "Content-Type: application/json",
                                 "Expect: 100-continue"))  # fmt: skip
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(body)
        assert raw.read_reply(sock).status == 200
