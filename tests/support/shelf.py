"""A place on the network that has pictures: an https server whose every answer is written by hand."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

CERTIFICATE = Path(__file__).with_name("pictures.pem")
"""For `pictures.test` alone, with its key, which protects nothing."""

Page = Callable[[], Iterable[bytes]]


class Shelf:
    """`pages`: by path, the bytes that are answered, header and all; `n_sent`: how many bytes went out."""

    def __init__(self, pages: dict[str, Page]) -> None:
        self.pages = pages
        self.asked: list[str] = []
        self.n_sent = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(CERTIFICATE)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._socket.accept()
            except OSError:
                return
            with suppress(OSError), self._tls.wrap_socket(plain, server_side=True) as connection:
                self._answer(connection)

    def _answer(self, connection: ssl.SSLSocket) -> None:
        request = b""
        while b"\r\n\r\n" not in request and (received := connection.recv(4096)):
            request += received
        path = request.split(b" ")[1].decode()
        self.asked.append(path)
        for piece in self.pages[path]():
            connection.sendall(piece)
            self.n_sent += len(piece)


@contextmanager
def shelf_of(pages: dict[str, Page]) -> Iterator[Shelf]:
    shelf = Shelf(pages)
    try:
        yield shelf
    finally:
        shelf.close()


def trusting() -> ssl.SSLContext:
    """What a client needs to believe it."""
    return ssl.create_default_context(cafile=str(CERTIFICATE))
