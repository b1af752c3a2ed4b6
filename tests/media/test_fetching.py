"""Pictures by https address: fetched from where the operator says, and from nowhere else (rows 32 and 33)."""

from __future__ import annotations

import gzip
import ipaddress
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pytest

from completionist.media.fetch import IPAddress, PictureFetcher, is_public, resolved
from completionist.settings import ImageSettings
from tests.media.test_documents import echo
from tests.media.test_pictures import asked, refusal, said
from tests.support.eyes import Eyes
from tests.support.server import RunningServer, running_server
from tests.support.shelf import Page, Shelf, shelf_of, trusting

URL = "messages[0].content[1].image_url.url"
LOOPBACK, PRIVATE = ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("10.0.0.1")
CAP_BYTES = 10_000


def at(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def answer(body: bytes, *headers: str, status: str = "200 OK", kind: str = "image/png") -> bytes:
    lines = (f"HTTP/1.1 {status}", f"Content-Type: {kind}", *headers, "", "")
    return "\r\n".join(lines).encode() + body


def whole(body: bytes, *headers: str, **more: str) -> Page:
    return lambda: [answer(body, f"Content-Length: {len(body)}", *headers, **more)]


def moved(to: str) -> Page:
    return whole(b"", f"Location: {to}", status="302 Found")


def endless() -> Iterator[bytes]:
    yield answer(b"")
    while True:
        yield bytes(4096)


def dripping() -> Iterator[bytes]:
    yield answer(b"", "Content-Length: 1000")
    while True:
        yield b"x"
        time.sleep(0.05)


def endless_header() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\n"
    while True:
        yield b"X: " + b"x" * 4093 + b"\r\n"


PAGES: dict[str, Page] = {
    "/noon": whole(b"Noon"),
    "/unsaid": whole(b"Noon", kind="application/octet-stream"),
    "/chunked": lambda: [answer(b"2\r\nNo\r\n2\r\non\r\n0\r\n\r\n", "Transfer-Encoding: chunked")],
    "/moved": moved("/noon"),
    "/moved/twice": moved("/moved"),
    "/half": whole(bytes(CAP_BYTES // 2 + 1)),
}
ENTRANCE: dict[str, Page] = {
    "row 33 without end": endless,
    "row 33 a byte at a time": dripping,
    "row 33 a header without end": endless_header,
    "row 33 longer than it says": lambda: [answer(b"Noon", "Content-Length: 1000")],
    "row 33 too long, and it says so": whole(bytes(CAP_BYTES + 1)),
    "row 33 a negative length": lambda: [answer(b"Noon", "Content-Length: -1")],
    "row 33 gzip that expands a thousand times": whole(gzip.compress(bytes(10**6)), "Content-Encoding: gzip"),
    "row 33 a page": whole(b"<html>", kind="text/html; charset=utf-8"),
    "row 33 no kind at all": whole(b"Noon", kind=""),
    "row 33 nothing there": whole(b"Noon", status="404 Not Found"),
    "row 33 no http": lambda: [b"SSH-2.0-OpenSSH_9.6\r\n"],
    "row 33 in a circle": moved("/row"),
    "row 32 moved to http": moved("http://pictures.test/noon"),
    "row 32 moved to another host": moved("https://elsewhere.test/noon"),
    "row 32 moved to a file": moved("file:///etc/passwd"),
    "row 32 moved to nowhere": whole(b"", status="302 Found"),
}


class Names:
    """A resolver that knows these; all others are asked of the system."""

    def __init__(self) -> None:
        self.known: dict[str, Sequence[IPAddress]] = {}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[IPAddress]:
        self.asked.append(host)
        return self.known[host] if host in self.known else await resolved(host, port)


@pytest.fixture(scope="module")
def shelf() -> Iterator[Shelf]:
    with shelf_of(dict(PAGES)) as shelf:
        yield shelf


def settings_of(*hosts: str) -> ImageSettings:
    return ImageSettings(fetch_hosts=hosts, max_fetched_bytes=CAP_BYTES, fetch_timeout_s=3.0)


def served_with(fetcher: PictureFetcher) -> Any:
    return running_server(echo, pictures=Eyes(), fetcher=fetcher)


@pytest.fixture(scope="module")
def names() -> Names:
    names = Names()
    names.known = {"pictures.test": [LOOPBACK], "other.test": [LOOPBACK], "elsewhere.test": [LOOPBACK]}
    return names


@pytest.fixture(scope="module")
def server(shelf: Shelf, names: Names) -> Iterator[RunningServer]:
    """To which loopback is a public address."""
    settings = settings_of(f"pictures.test:{shelf.port}", f"other.test:{shelf.port}")
    fetcher = PictureFetcher(settings, resolve=names, is_allowed=lambda it: it == LOOPBACK, tls=trusting())
    with served_with(fetcher) as server:
        yield server


@pytest.mark.parametrize("path", ["/noon", "/unsaid", "/chunked", "/moved", "/moved/twice"])
def test_a_picture_is_fetched(server: RunningServer, shelf: Shelf, path: str) -> None:
    assert "[Text in the picture]\nNoon\n" in said(asked(server, at(f"https://pictures.test:{shelf.port}{path}")))


@pytest.mark.parametrize("page", ENTRANCE.values(), ids=ENTRANCE)
def test_what_is_no_picture_is_refused_before_much_of_it_is_read(
    server: RunningServer, shelf: Shelf, page: Page
) -> None:
    shelf.pages["/row"] = page
    shelf.n_sent = 0
    url = f"https://pictures.test:{shelf.port}/row"
    assert refusal(server, at(url)) == ("invalid_image_url", URL, f"Error while downloading {url}.")
    assert shelf.n_sent < CAP_BYTES + 8 * 2**20  # what systems hold on the way
    assert "Noon" in said(asked(server, at(f"https://pictures.test:{shelf.port}/noon")))


@pytest.mark.parametrize(
    "start",
    ["http://pictures.test", "https://elsewhere.test", "https://user:word@pictures.test", "https://other.test",
     "https://nowhere.invalid", "https://pictures.test.elsewhere.test"],
)  # fmt: skip
def test_what_the_operator_did_not_name_is_not_fetched(server: RunningServer, shelf: Shelf, start: str) -> None:
    """Other names, other ports, and a host that has another one's certificate."""
    shelf.asked.clear()
    for url in (f"{start}:{shelf.port}/noon", f"{start}/noon", "https://pictures.test/noon"):
        assert refusal(server, at(url))[0] == "invalid_image_url"
    assert shelf.asked == []


def test_the_pictures_of_a_request_have_one_limit_together(server: RunningServer, shelf: Shelf) -> None:
    half = at(f"https://pictures.test:{shelf.port}/half")
    asked(server, half)
    with pytest.raises(Exception, match="Error while downloading") as caught:
        asked(server, half, half)
    error: Any = caught.value
    assert error.param == "messages[0].content[2].image_url.url"


def test_row_32_a_name_is_looked_up_once_and_that_address_is_connected_to(
    server: RunningServer, shelf: Shelf, names: Names
) -> None:
    names.asked.clear()
    asked(server, at(f"https://pictures.test:{shelf.port}/moved"))
    assert names.asked == ["pictures.test"] * 2  # a connection each
    names.known["pictures.test"] = [LOOPBACK, PRIVATE]
    try:
        assert refusal(server, at(f"https://pictures.test:{shelf.port}/noon"))[0] == "invalid_image_url"
    finally:
        names.known["pictures.test"] = [LOOPBACK]


INNER = (
    "127.0.0.1", "127.1", "2130706433", "0177.0.0.1", "0x7f.0.0.1", "0.0.0.0", "0", "[::1]", "[::]", "[::ffff:127.0.0.1]",  # noqa: S104 (nothing is bound)
    "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "localhost", "localhost.", "LOCALHOST", "loop.test", "both.test",
    "169.254.169.254", "10.1.2.3", "172.16.0.1", "192.168.0.1", "100.64.0.1", "[fe80::1]", "[fd00::1]", "224.0.0.1",
)  # fmt: skip


@pytest.fixture(scope="module")
def canary() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


@pytest.fixture(scope="module")
def open_server(canary: socket.socket) -> Iterator[RunningServer]:
    """Whose operator lets it fetch from every host, and from the canary's port too."""
    names = Names()
    names.known = {"loop.test": [LOOPBACK], "both.test": [ipaddress.ip_address("93.184.215.14"), LOOPBACK]}
    port = canary.getsockname()[1]
    with served_with(PictureFetcher(settings_of("*", f"*:{port}"), resolve=names)) as server:
        yield server


@pytest.mark.parametrize("host", INNER)
def test_row_32_addresses_within_are_never_connected_to(
    open_server: RunningServer, canary: socket.socket, host: str
) -> None:
    """The same text whether the port is open, closed, or not to be had at all."""
    for port in (f":{canary.getsockname()[1]}", "", ":1"):
        url = f"https://{host}{port}/a.png"
        assert refusal(open_server, at(url)) == ("invalid_image_url", URL, f"Error while downloading {url}.")
    with pytest.raises(BlockingIOError):
        canary.accept()


def addresses(*texts: str) -> Iterable[IPAddress]:
    return map(ipaddress.ip_address, texts)


def test_public_addresses() -> None:
    assert all(map(is_public, addresses("93.184.215.14", "2606:4700::1111", "::ffff:93.184.215.14")))
    assert not any(map(is_public, addresses("198.18.0.1", "255.255.255.255", "ff02::1", "fec0::1", "2001::1")))
