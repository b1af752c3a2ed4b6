"""Pictures that messages name by https address, where the operator lets them be fetched.

What a client writes decides where this machine connects to, so: only to hosts that the operator named, only to addresses of
the public internet, and to the very address that was judged. A name is resolved once for each connection, and every address
that it has must be public; a redirection is judged like the address that led there.
"""

from __future__ import annotations

import asyncio
import binascii
import ipaddress
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from fnmatch import fnmatchcase
from typing import Any

import httpcore2
import httpx2

from completionist.chat.pictures import Unfetched
from completionist.log import emit
from completionist.settings import ImageSettings
from completionist.types.parts import Base64

_log = logging.getLogger(__name__)

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[IPAddress]]]

_HTTPS_PORT = 443
_MAX_REDIRECTIONS = 3
_REDIRECTIONS = frozenset({301, 302, 303, 307, 308})
_PICTURES = frozenset({b"image/png", b"image/jpeg", b"image/webp", b"image/gif"})
_UNSAID = frozenset({b"application/octet-stream", b"binary/octet-stream"})
"""What stores of files say of a file whose kind they were not told."""
_HEADERS = (
    (b"Accept", b", ".join(sorted(_PICTURES))),
    (b"Accept-Encoding", b"identity"),
    (b"User-Agent", b"completionist"),
    (b"Connection", b"close"),
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_FAILURES = (
    OSError, ValueError, TimeoutError, httpx2.InvalidURL,
    httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException,
)  # fmt: skip


def is_public(address: IPAddress) -> bool:
    """Whether it is one of the internet, also where it stands for an older one: mapped, translated or tunnelled."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is not None:
            return is_public(inner)
        if address in _NAT64 or address.is_site_local or address.teredo is not None:
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


async def resolved(host: str, port: int) -> Sequence[IPAddress]:
    """Raises `OSError`."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [ipaddress.ip_address(str(where[0]).partition("%")[0]) for *_, where in found]


class PictureFetcher:
    """A `PictureSource`. Of its arguments all but `settings` are others in tests alone."""

    def __init__(
        self,
        settings: ImageSettings,
        *,
        resolve: Resolve = resolved,
        is_allowed: Callable[[IPAddress], bool] = is_public,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._hosts = settings.fetch_hosts
        self._timeout_s = settings.fetch_timeout_s
        self._tls = tls or httpcore2.default_ssl_context()
        self._network = _Pinned(resolve, is_allowed)
        self.max_request_bytes = settings.max_fetched_bytes

    async def fetch(self, url: str, max_bytes: int) -> Base64:
        try:
            async with asyncio.timeout(self._timeout_s):
                content = await self._followed(httpx2.URL(url), max_bytes)
        except _FAILURES as error:
            # the address is the client's text, and an error may carry it
            emit(_log, logging.INFO, "a picture was not fetched", reason=type(error).__name__)
            raise Unfetched from None
        except Unfetched as refusal:
            emit(_log, logging.INFO, "a picture was not fetched", reason=str(refusal))
            raise
        return Base64(await asyncio.to_thread(_as_base64, content))

    async def _followed(self, url: httpx2.URL, max_bytes: int) -> bytes:
        for _ in range(1 + _MAX_REDIRECTIONS):
            self._check(url)
            async with self._answer(url) as answer:
                if answer.status not in _REDIRECTIONS:
                    return await _content(answer, max_bytes)
                url = url.join(_header(answer, b"location").decode("ascii"))
        raise Unfetched("it is redirected too often")

    def _check(self, url: httpx2.URL) -> None:
        """The host as it goes into the connection: in lower case, and in ASCII."""
        if url.scheme != "https" or url.userinfo:
            raise Unfetched("its address is not a plain https one")
        host, port = url.raw_host.decode("ascii").rstrip("."), url.port or _HTTPS_PORT
        if not any(_is_named(host, port, pattern) for pattern in self._hosts):
            raise Unfetched("its host is not in images.fetch_hosts")

    @asynccontextmanager
    async def _answer(self, url: httpx2.URL) -> AsyncIterator[httpcore2.Response]:
        """On a connection of its own."""
        where = httpcore2.URL(scheme=b"https", host=url.raw_host, port=url.port, target=url.raw_path)
        pool = httpcore2.AsyncConnectionPool(ssl_context=self._tls, network_backend=self._network, max_connections=1)
        async with pool, pool.stream("GET", where, headers=[(b"Host", url.netloc), *_HEADERS]) as answer:
            yield answer


class _Pinned(httpcore2.AsyncNetworkBackend):
    """Connects to addresses that were judged; what is above it knows the name only, for TLS."""

    def __init__(self, resolve: Resolve, is_allowed: Callable[[IPAddress], bool]) -> None:
        self._resolve = resolve
        self._is_allowed = is_allowed
        self._plain = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the library's
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        addresses = await self._resolve(host, port)
        if not addresses or not all(map(self._is_allowed, addresses)):
            raise Unfetched("its address is not a public one")
        for address in addresses[:-1]:
            try:
                return await self._plain.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except httpcore2.NetworkError:
                continue
        return await self._plain.connect_tcp(str(addresses[-1]), port, timeout, local_address, socket_options)


async def _content(answer: httpcore2.Response, max_bytes: int) -> bytes:
    if answer.status != httpx2.codes.OK:
        raise Unfetched(f"it was answered with {answer.status}")
    kind = _header(answer, b"content-type").partition(b";")[0].strip().lower()
    if kind not in _PICTURES and kind not in _UNSAID:
        raise Unfetched("it is not said to be a picture")
    if _header(answer, b"content-encoding", b"identity").lower() != b"identity":
        raise Unfetched("it is compressed, which was not asked for")
    if int(_header(answer, b"content-length", b"0")) > max_bytes:
        raise Unfetched("it is too large")
    content = bytearray()
    async for piece in answer.aiter_stream():
        content += piece
        if len(content) > max_bytes:
            raise Unfetched("it is too large")
    return bytes(content)


def _header(answer: httpcore2.Response, name: bytes, default: bytes = b"") -> bytes:
    return next((value for key, value in answer.headers if key.lower() == name), default)


def _is_named(host: str, port: int, pattern: str) -> bool:
    name, _, said_port = pattern.partition(":")
    return port == int(said_port or _HTTPS_PORT) and fnmatchcase(host, name.lower())


def _as_base64(content: bytes) -> str:
    return binascii.b2a_base64(content, newline=False).decode()
