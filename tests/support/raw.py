"""HTTP by hand, for requests that no client library would send."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from tests.support.server import MODEL

BODY = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}


class Reply(NamedTuple):
    """An answer as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        """The error object; its four keys must be there."""
        error = json.loads(self.body)["error"]
        assert list(error) == ["message", "type", "param", "code"]
        assert isinstance(error, dict)
        return error


def json_of(reply: Reply) -> Any:
    """The body of a good answer."""
    assert reply.status == 200, reply
    return json.loads(reply.body)


def chat(**fields: object) -> bytes:
    """The bytes of a create body."""
    return json.dumps(BODY | fields).encode()


def request(method: str, path: str, *headers: str, body: bytes | None = None, host: str | None = "localhost") -> bytes:
    """The bytes of a request; with a body, its length and JSON type are added where `headers` name none."""
    names = {header.partition(":")[0].lower() for header in headers}
    lines = [f"{method} {path} HTTP/1.1", *headers]
    if host is not None:
        lines.append(f"Host: {host}")
    if body is not None and not names & {"content-length", "transfer-encoding"}:
        lines.append(f"Content-Length: {len(body)}")
    if body is not None and "content-type" not in names:
        lines.append("Content-Type: application/json")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


@contextmanager
def connection(port: int, *, receive_buffer_bytes: int | None = None) -> Iterator[socket.socket]:
    """A TCP connection that gives up after a minute."""
    with socket.socket() as sock:
        if receive_buffer_bytes is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        sock.settimeout(60)
        sock.connect(("127.0.0.1", port))
        yield sock


def send(port: int, *parts: bytes) -> Reply:
    """Send `parts` on a connection of their own and read one answer."""
    with connection(port) as sock:
        for part in parts:
            sock.sendall(part)
        return read_reply(sock)


def push(port: int, *parts: bytes, every_s: float = 0.0) -> Reply | None:
    """The answer to bytes that the server need not take in; None where it only closed."""
    received = b""
    with connection(port) as sock:
        try:
            for part in parts:
                sock.sendall(part)
                time.sleep(every_s)
        except OSError:
            pass  # it closed before it had everything; what it said is still there
        with suppress(ConnectionResetError):  # the reset may overtake the answer
            received = read_to_end(sock)
    return parsed(received) if received else None


def is_refused(port: int) -> bool:
    """Whether nobody listens any more."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return True
    return False


def read_reply(sock: socket.socket) -> Reply:
    """One whole answer with a content length."""
    status, headers, rest = read_head(sock)
    length = int(headers["content-length"])
    while len(rest) < length:
        rest += _received(sock)
    return Reply(status, headers, rest[:length])


def read_head(sock: socket.socket) -> Reply:
    """Status and headers, with as much of the body as came along."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _received(sock)
    return parsed(data)


def parsed(received: bytes) -> Reply:
    """Status and headers of what was received, and all that came behind them."""
    head, _, rest = received.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Reply(int(status.split()[1]), headers, rest)


def read_to_end(sock: socket.socket) -> bytes:
    """Everything until the server closes."""
    return b"".join(iter(lambda: sock.recv(65536), b""))


def events(stream: Iterable[bytes] | bytes) -> list[str]:
    """The data of the events of an undisturbed stream body, `[DONE]` included; comments are left out."""
    body = stream if isinstance(stream, bytes) else b"".join(stream)
    frames = body.decode().split("\n\n")
    assert frames.pop() == "", "the last event is not complete"
    assert all(frame.startswith(("data: ", ":")) and "\n" not in frame for frame in frames)
    return [frame.removeprefix("data: ") for frame in frames if not frame.startswith(":")]


def _received(sock: socket.socket) -> bytes:
    data = sock.recv(65536)
    assert data, "the server closed the connection"
    return data
