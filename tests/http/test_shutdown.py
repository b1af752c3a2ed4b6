"""The end of a server process, and its beginning."""

from __future__ import annotations

import re
import signal
import socket

import pytest

from completionist import app
from completionist.engine.scripted import friendly
from completionist.settings import ServerSettings, Settings
from tests.support import raw
from tests.support.process import ServerProcess, held, server_process, slow
from tests.support.server import eventually

CREATE = "/v1/chat/completions"


def open_stream(server: ServerProcess, stream: bool = True) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    sock.sendall(raw.request("POST", CREATE, body=raw.chat(stream=stream)))
    return sock


def begin_streams(server: ServerProcess, n: int = 5) -> list[tuple[socket.socket, bytes]]:
    """Streams that have begun, each with what has come of it."""
    sockets = [open_stream(server) for _ in range(n)]
    return [(sock, raw.read_head(sock).body) for sock in sockets]


def is_running(server: ServerProcess, n: int) -> bool:
    metrics = raw.send(server.port, raw.request("GET", "/metrics")).body.decode()
    return re.search(rf"^completionist_num_requests_running.* {n}\.0$", metrics, re.MULTILINE) is not None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_streams_finish_and_nobody_else_is_let_in(number: signal.Signals) -> None:
    with server_process(slow) as server, raw.connection(server.port) as open_connection:
        open_connection.sendall(raw.request("GET", "/health/ready"))
        assert raw.read_reply(open_connection).status == 200
        streams = begin_streams(server)
        server.process.send_signal(number)
        eventually(lambda: raw.is_refused(server.port))
        open_connection.sendall(raw.request("GET", "/health/ready"))
        assert raw.read_reply(open_connection).status == 503
        open_connection.sendall(raw.request("GET", "/health/live"))
        assert raw.read_reply(open_connection).status == 200
        open_connection.sendall(raw.request("POST", CREATE, body=raw.chat()))
        late = raw.read_reply(open_connection)
        assert (late.status, late.headers["connection"], late.headers["retry-after"]) == (503, "close", "1")
        for sock, begun in streams:
            body = begun + raw.read_to_end(sock)
            assert b'"finish_reason":"stop"' in body
            assert b"data: [DONE]\n\n" in body
            assert b"error" not in body
            sock.close()
        code, log = server.wait()
    assert code == 0
    assert log.count("outcome=completed") >= 5 + 2
    assert "Traceback" not in log


@pytest.mark.parametrize("how", ["the deadline", "a second signal"])
def test_what_is_left_is_cut_off_with_an_error(how: str) -> None:
    drain_s = 0.3 if how == "the deadline" else 30.0
    settings = Settings(server=ServerSettings(drain_timeout_s=drain_s))
    with server_process(held, settings) as server:
        streams = begin_streams(server, 3)
        plain = open_stream(server, stream=False)
        eventually(lambda: is_running(server, 4))
        server.process.send_signal(signal.SIGTERM)
        if how == "a second signal":
            eventually(lambda: raw.is_refused(server.port))
            server.process.send_signal(signal.SIGTERM)
        for sock, begun in streams:
            body = begun + raw.read_to_end(sock)
            error, done = re.findall(r"data: (.*)\n", body.decode())[-2:]
            assert error.startswith('{"error":{"message":"The server is shutting down')
            assert done == "[DONE]"
            sock.close()
        reply = raw.read_reply(plain)
        assert (reply.status, reply.headers["retry-after"]) == (503, "1")
        plain.close()
        code, log = server.wait()
    assert code == 1
    assert log.count("outcome=failed") == 3
    assert "Traceback" not in log


def test_a_process_stays_small_has_its_port_for_itself_and_ends_at_once_when_idle() -> None:
    with server_process(friendly) as server:
        for _ in range(20):
            assert raw.send(server.port, raw.request("POST", CREATE, body=raw.chat(max_tokens=2))).status == 200
        assert server.facts.memory_info().rss < 150 * 2**20
        settings = Settings(server=ServerSettings(port=server.port))
        with pytest.raises(app.CannotListen, match=f"cannot listen on 127.0.0.1:{server.port}: the port is in use"):
            app.serve(settings, friendly, lambda _: None)
        server.process.send_signal(signal.SIGTERM)
        assert server.wait()[0] == 0


def test_descriptors_and_memory_come_back_after_abuse() -> None:
    """The catalogue's invariants I1 and I2, for what the API process holds."""
    with server_process(friendly) as server:

        def abuse() -> None:
            for _ in range(20):
                raw.send(server.port, b"junk\r\n\r\n")
                raw.send(server.port, raw.request("POST", CREATE, body=b"[" * 100_000))
                with raw.connection(server.port) as sock:
                    sock.sendall(raw.request("POST", CREATE, "Content-Length: 100000", body=b"x" * 50_000))
                with open_stream(server) as sock:
                    raw.read_head(sock)

        abuse()
        abuse()
        eventually(lambda: len(server.facts.net_connections()) == 1)
        n_descriptors, rss = server.facts.num_fds(), server.facts.memory_info().rss
        abuse()
        eventually(lambda: server.facts.num_fds() == n_descriptors)
        assert server.facts.memory_info().rss < rss * 1.05
        assert raw.send(server.port, raw.request("POST", CREATE, body=raw.chat(max_tokens=1))).status == 200
