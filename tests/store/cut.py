"""A way to PostgreSQL that can be cut at any message of the client."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

_SOCKET = ".s.PGSQL.5432"


class Cut:
    """Passes on what clients and server say. `n_left`: messages of clients until every connection is cut; None: no end."""

    def __init__(self, server: Path, listener: socket.socket) -> None:
        self.n_left: int | None = None
        self._server = server
        self._listener = listener
        self._lock = threading.Lock()

    def run(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server, suppress(OSError):
            server.connect(str(self._server))
            while True:
                for source in select.select((client, server), (), ())[0]:
                    data = source.recv(2**16)
                    if not data or (source is client and self._is_cut()):
                        return
                    (server if source is client else client).sendall(data)

    def _is_cut(self) -> bool:
        with self._lock:
            if self.n_left is None:
                return False
            self.n_left -= 1
            return self.n_left < 0


@contextmanager
def cut_way(url: str, directory: Path) -> Iterator[tuple[Cut, str]]:
    """The way to the database at `url`, and the URL that takes it; the path of `directory` must be short."""
    parsed = urlsplit(url)
    server = Path(parse_qs(parsed.query)["host"][0]) / _SOCKET
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / _SOCKET))
        listener.listen()
        cut = Cut(server, listener)
        threading.Thread(target=cut.run, daemon=True).start()
        try:
            yield cut, f"postgresql://postgres@{parsed.path}?host={quote(str(directory), safe='')}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
