"""Rows 1 to 12: HTTP and JSON."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import pytest

from tests.abuse.conftest import LIMITED_SETTINGS
from tests.abuse.invariants import CHEAP_S, CREATE, KEY, Abuse
from tests.abuse.served import watch_peak
from tests.support import raw
from tests.support.server import eventually


def test_row_01_what_is_no_json_object(abuse: Abuse) -> None:
    for body in (b'{"model":"m","messages":[', b"", b"[]", b'"x"', b"null", b"1"):
        refused = abuse.refused(400, None, None, body)
        assert refused.error["message"].startswith("We could not parse the JSON body of your request.")


def test_row_02_other_content_types(abuse: Abuse) -> None:
    for declared in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        refused = abuse.create(None, f"Content-Type: {declared}")
        assert (refused.status, refused.error["code"]) == (400, "unsupported_content_type")
    body = abuse.body()
    lines = (
        f"POST {CREATE} HTTP/1.1",
        "Host: localhost",
        f"Authorization: Bearer {KEY}",
        f"Content-Length: {len(body)}",
    )
    refused = abuse.send("\r\n".join([*lines, "", ""]).encode() + body)
    assert (refused.status, refused.error["code"]) == (400, "unsupported_content_type")
    assert abuse.create(None, "Content-Type: application/json; charset=utf-8").status == 200


def test_row_03_text_that_is_none(abuse: Abuse) -> None:
    good = abuse.body(messages=[{"role": "user", "content": "MARK"}])
    for text in (b"\xff", b"\xc3(", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\\ud800", b"\\udc00\\ud800"):
        abuse.refused(400, None, None, good.replace(b"MARK", text))
    for encoding in ("utf-16", "utf-16-le", "utf-32", "utf-8-sig"):
        abuse.refused(400, None, None, good.decode().encode(encoding))
    for text in (b"\\u0000", b"a\\u0000b"):
        assert abuse.create(good.replace(b"MARK", text)).status in {200, 400}
    for text in ("\U0001f40b".encode(), b"\\ud83d\\udc0b", "\U0010ffff".encode()):
        assert abuse.create(good.replace(b"MARK", text)).status == 200


def test_row_04_numbers_that_json_has_not(abuse: Abuse) -> None:
    good = abuse.body(temperature=0.5)
    for number in (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999"):
        abuse.refused(400, None, None, good.replace(b"0.5", number))
    assert abuse.create(good.replace(b"0.5", b"-0.0")).status == 200


def test_row_05_nesting(abuse: Abuse) -> None:
    n = 100_000
    schema = b'{"a":' * n + b"{}" + b"}" * n
    tool = b'[{"type":"function","function":{"name":"f","parameters":' + schema + b"}}]"
    good = abuse.body(tools="MARK")
    for body in (
        b"[" * n,
        b"[" * n + b"]" * n,
        b'{"a":' * n,
        good.replace(b'"MARK"', b"[" * n + b"]" * n),
        good.replace(b'"MARK"', tool),
    ):
        assert abuse.cpu_s(partial(abuse.refused, 400, None, None, body)) < CHEAP_S


def test_row_06_numbers_without_end(abuse: Abuse) -> None:
    good = abuse.body(seed=7141)
    for digits in (b"9" * 5_000, b"-" + b"9" * 5_000, b"9" * 2**20, b"0." + b"9" * 2**20, b"1e" + b"9" * 2**20):
        body = good.replace(b"7141", digits)
        assert abuse.cpu_s(partial(_refuse_number, abuse, body)) < CHEAP_S


def test_row_06_large_bodies_that_are_refused_are_let_go(abuse: Abuse) -> None:
    """At once, not when the collector comes by."""
    growth_bytes = watch_peak(abuse.served.api)
    for _ in range(40):
        abuse.refused(400, "invalid_type", "seed", seed="9" * 2**20)
    assert growth_bytes() < 16 * 2**20


def _refuse_number(abuse: Abuse, body: bytes) -> None:
    refused = abuse.create(body)
    assert refused.status == 400
    code, param = refused.error["code"], refused.error["param"]
    assert (code, param) == (None, None) or (param == "seed" and code.startswith(("integer_", "invalid_type")))


def test_row_07_bodies_over_the_limit(limited: Abuse) -> None:
    """Honest lengths, no lengths, and lengths that are too small."""
    limit = LIMITED_SETTINGS.server.max_body_bytes
    growth_bytes = watch_peak(limited.served.api)
    honest = limited.request("POST", CREATE, f"Content-Length: {limit + 1}", "Content-Type: application/json")
    refused = limited.send(honest)
    assert (refused.status, refused.headers["connection"]) == (413, "close")
    head = limited.request("POST", CREATE, "Transfer-Encoding: chunked", "Content-Type: application/json")
    chunk = b"4000\r\n" + b" " * 0x4000 + b"\r\n"
    for _ in range(3):
        pushed = limited.push(head, *[chunk] * 1000)
        assert pushed is None or pushed.status == 413
    assert limited.send(head, *[chunk] * 5).status == 413
    assert growth_bytes() < 4 * 2**20 + limit


def test_row_07_bytes_behind_the_body_are_no_second_request(limited: Abuse) -> None:
    first = limited.request("POST", CREATE, body=limited.body())
    for extra in (b'"}]}', first, b"\x00" * 100_000):
        start = len(limited.served.log_text())
        answer = limited.push(first + extra)
        assert answer is not None
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert answer.body.count(b'"object":"chat.completion"') == 1
        assert len(eventually(partial(limited.served.log_lines, start, path=CREATE))) == 1


@pytest.mark.parametrize(
    "headers",
    [
        tuple(f"x-{i}: {'y' * 10_000}" for i in range(104)),
        tuple(f"x-{i}: y" for i in range(1000)),
        ("x-long: " + "y" * 100_000,),
    ],
    ids=["a megabyte in all", "a thousand", "a long one"],
)
def test_row_08_headers_without_end(abuse: Abuse, headers: tuple[str, ...]) -> None:
    refused = abuse.push(abuse.request("GET", "/v1/models", *headers))
    assert refused is None or (refused.status, refused.headers["connection"]) == (431, "close")


def test_row_08_urls_without_end(abuse: Abuse) -> None:
    refused = abuse.push(abuse.request("GET", "/v1/models/" + "x" * 100_000))
    assert refused is None or (refused.status, refused.headers["connection"]) == (414, "close")


def test_row_08_others_are_served_meanwhile(abuse: Abuse) -> None:
    growth_bytes = watch_peak(abuse.served.api)
    with _open(abuse, 20) as sockets:
        for sock in sockets:
            sock.sendall(b"GET /health HTTP/1.1\r\nx-long: " + b"y" * 50_000)
        assert abuse.create().status == 200
        for sock in sockets:
            while not _is_cut_off(sock, b"y" * 4096):
                time.sleep(0.001)
        assert abuse.create().status == 200
    assert growth_bytes() < 8 * 2**20


@pytest.mark.parametrize("n_clients", [20, pytest.param(200, marks=pytest.mark.large)])
@pytest.mark.parametrize("what", ["headers", "body"])
def test_row_09_a_byte_at_a_time(limited: Abuse, what: str, n_clients: int) -> None:
    """All of them are cut off, each with 408 or without a word, and others are served all the while."""
    head = limited.request("POST", CREATE, "Content-Length: 10000", "Content-Type: application/json")
    begun = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nx-slow: y" if what == "headers" else head
    with _open(limited, n_clients) as sockets:
        for sock in sockets:
            sock.sendall(begun)
        waiting = sockets
        while waiting:
            assert limited.create().status == 200
            waiting = [sock for sock in waiting if not _is_cut_off(sock, b" ")]
        for sock in sockets:
            if received := _rest(sock):
                assert limited.keep(raw.parsed(received)).status == 408


@contextmanager
def _open(abuse: Abuse, n: int) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        yield [stack.enter_context(raw.connection(abuse.port)) for _ in range(n)]


def _is_cut_off(sock: socket.socket, more: bytes) -> bool:
    try:
        sock.sendall(more)
    except OSError:
        return True
    return False


def _rest(sock: socket.socket) -> bytes:
    try:
        return raw.read_to_end(sock)
    except ConnectionResetError:
        return b""


@pytest.mark.parametrize("key", [None, KEY])
def test_row_10_paths(abuse: Abuse, key: str | None) -> None:
    for path in (
        "/", "/v1", "//v1//chat/completions", "/v1//chat/completions", "/v1/%2e%2e/v1/chat/completions",
        "/v1/../v1/chat/completions", "/v1/./chat/completions", "/v1/chat%2Fcompletions", "/v1/chat/%63ompletions",
        "/v1/chat/completions/", "/V1/Chat/Completions", "/v1/chat/completions;x", "/v1/chat/completions%00",
        "/v1\\chat\\completions", "/docs", "/static/../v1/models", "/console",
    ):  # fmt: skip
        for method in ("GET", "POST", "DELETE"):
            refused = abuse.send(abuse.request(method, path, body=abuse.body(), key=key))
            assert refused.status in {401, 404}, path
            assert refused.error["code"] is None
    for method in ("PUT", "PATCH", "DELETE", "OPTIONS", "BREW"):
        refused = abuse.send(abuse.request(method, CREATE, key=key))
        assert refused.status in {400, 401, 405}  # 400: no method at all; 401: one that exists, for those with a key
        if refused.status == 405:
            assert refused.error["code"] == "method_not_supported"
            assert "POST" in refused.headers["allow"]


def test_row_11_client_request_ids(abuse: Abuse) -> None:
    for sent in ("x" * 513, "é"):
        refused = abuse.create(None, f"X-Client-Request-Id: {sent}")
        assert (refused.status, refused.error["code"]) == (400, None)
    good = abuse.create(None, "X-Client-Request-Id: " + "y" * 512)
    assert good.status == 200
    wanted = {"request_id": good.headers["x-request-id"], "client_request_id": "y" * 512}
    assert eventually(lambda: abuse.served.log_lines(0, **wanted))


KNOBS = {
    "n_discard": -1, "id_slot": 1e9, "grammar": "root ::= (", "samplers": ["x"], "cache_prompt": False, "top_k": 1,
    "chat_template": "{{ 1 }}", "chat_template_kwargs": {"a": 1}, "n_keep": -1, "n_predict": 9, "json_schema": {},
    "guided_json": {}, "lora": [], "prompt": "x", "timings_per_token": True, "__class__": "x",
}  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
def test_row_12_unknown_parameters_and_knobs_of_engines(abuse: Abuse, stream: bool) -> None:
    for name, value in KNOBS.items():
        abuse.refused(400, "unknown_parameter", name, abuse.body(stream=stream, **{name: value}))
    refused = abuse.create(abuse.body(stream=stream, **{"x" * 100_000: 1}))
    assert (refused.status, refused.error["code"]) == (400, "unknown_parameter")
    assert len(json.loads(refused.body)["error"]["message"]) < 200
