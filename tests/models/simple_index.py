"""A package index on loopback that can be told to misbehave, and the things it serves."""

from __future__ import annotations

import hashlib
import io
import json
import re
import struct
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

from completionist.models.catalog import CatalogEntry, HubSource
from completionist.package_index import IndexConfig
from completionist.pinned import PinnedFile

Style = Literal["json", "html"]


class SimpleIndex:
    """State of the server; tests change it between and during requests."""

    first_path = "simple/"

    def __init__(self) -> None:
        self.url = ""
        self.style: Style = "json"
        self.files: dict[str, dict[str, bytes]] = {}
        """By project, by file name."""
        self.listed_sha256: dict[str, str] = {}
        """By file name, where the listing shall lie."""
        self.requests: list[tuple[str, str | None]] = []
        """Of files: name and `Range`."""
        self.authorizations: list[str | None] = []
        """Of listings."""
        self.knows_ranges = True
        self.statuses: list[int] = []
        """Answers to the next requests for a file, before any is served."""
        self.listing_status = 200
        self.page: bytes | None = None
        """Instead of a listing."""
        self.deaths: list[int] = []
        """For each of the next answers: bytes after which the connection is cut."""
        self.pause_after: int | None = None
        """Bytes after which answers wait for `go_on`."""
        self.paused = threading.Event()
        self.go_on = threading.Event()

    @property
    def config(self) -> IndexConfig:
        return IndexConfig(urls=(self.url,), timeout_s=10)

    def add(self, project: str, name: str, content: bytes) -> PinnedFile:
        self.files.setdefault(project, {})[name] = content
        digest = hashlib.sha256(content).hexdigest()
        return PinnedFile(project=project, name=name, sha256=digest, size_bytes=len(content))

    def listing(self, project: str) -> tuple[str, bytes]:
        """Content type and body."""
        rows = [(name, self._digest(name, content)) for name, content in self.files[project].items()]
        if self.style == "html":
            anchors = [
                f'<a href="../../files/{project}/{name}#sha256={digest}">{name}</a><br>' for name, digest in rows
            ]
            return "text/html; charset=utf-8", f"<!DOCTYPE html><body>{''.join(anchors)}</body>".encode()
        if self.page is not None:
            return "application/vnd.pypi.simple.v1+json", self.page
        files = [
            {"filename": name, "url": f"/files/{project}/{name}", "hashes": {"sha256": digest}, "yanked": False}
            for name, digest in rows
        ]
        page = {"meta": {"api-version": "1.1"}, "name": project, "files": files}
        return "application/vnd.pypi.simple.v1+json", json.dumps(page).encode()

    def _digest(self, name: str, content: bytes) -> str:
        return self.listed_sha256.get(name, hashlib.sha256(content).hexdigest())


@contextmanager
def serving() -> Iterator[SimpleIndex]:
    index = SimpleIndex()
    with running(index, Handler):
        yield index


@contextmanager
def running(index: SimpleIndex, handler_class: type[Handler]) -> Iterator[None]:
    """Serve what `index` holds on loopback meanwhile; its `url` is set."""
    handler = type("Handler", (handler_class,), {"index": index})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    index.url = f"http://127.0.0.1:{server.server_port}/{index.first_path}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        index.go_on.set()
        server.shutdown()
        thread.join()
        server.server_close()


class Handler(BaseHTTPRequestHandler):
    index: SimpleIndex
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        match self.path.strip("/").split("/"):
            case ["simple", project] if self.path.endswith("/"):
                self.index.authorizations.append(self.headers["authorization"])
                self._listing(project)
            case ["files", project, name]:
                self.file(project, name)
            case _:
                self.answer(404)

    def file(self, project: str, name: str) -> None:
        self.index.requests.append((name, self.headers["range"]))
        self._file(self.index.files[project][name])

    def _listing(self, project: str) -> None:
        if project not in self.index.files:
            self.answer(404)
            return
        kind, body = self.index.listing(project)
        self.answer(self.index.listing_status, body, kind)

    def _file(self, content: bytes) -> None:
        if self.index.statuses:
            self.answer(self.index.statuses.pop(0))
            return
        begin = re.match(r"bytes=(\d+)-$", self.headers["range"] or "")
        if begin is None or not self.index.knows_ranges:
            self._send(200, content)
        elif int(begin[1]) >= len(content):
            self.answer(416)
        else:
            self._send(206, content, int(begin[1]))

    def _send(self, status: int, content: bytes, begin: int = 0) -> None:
        body = content[begin:]
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        if status == 206:
            self.send_header("content-range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if self.index.pause_after is not None:
            self.wfile.write(body[: self.index.pause_after])
            self.index.paused.set()
            self.index.go_on.wait()
            body = body[self.index.pause_after :]
        if self.index.deaths:
            body = body[: self.index.deaths.pop(0)]
            self.close_connection = True
        try:
            self.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client was killed, as some tests do

    def answer(self, status: int, body: bytes = b"", kind: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Silent."""


def wheel(member: str, data: bytes) -> bytes:
    """An archive whose package would end the process that imports it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("evil/__init__.py", "raise SystemExit('imported')")
        archive.writestr(member, data)
    return buffer.getvalue()


def gguf(n_weights: int = 100_000, *, pairs: bytes = b"", n_pairs: int = 0, kind: int = 0, offset: int = 0) -> bytes:
    """A file of one tensor with 32-bit weights."""
    name = b"weights"
    header = struct.pack("<4sIQQ", b"GGUF", 3, 1, n_pairs) + pairs
    header += struct.pack("<Q", len(name)) + name + struct.pack("<IQIQ", 1, n_weights, kind, offset)
    padding = -len(header) % 32
    return (
        header
        + bytes(padding)
        + bytes(n % 251 for n in range(1024)) * (4 * n_weights // 1024)
        + bytes(4 * n_weights % 1024)
    )


def entry(
    index: SimpleIndex, content: bytes, *, name: str = "tiny", n_parts: int = 1, hub: HubSource | None = None
) -> CatalogEntry:
    """A catalogue entry whose parts `index` serves."""
    step = -(-len(content) // n_parts)
    parts = tuple(
        index.add(
            f"{name}-part{number}",
            f"{name}_part{number}-1.0-py3-none-any.whl",
            wheel(f"{name}/data/part{number}.bin", content[(number - 1) * step : number * step]),
        )
        for number in range(1, n_parts + 1)
    )
    return CatalogEntry(
        name=name,
        description="a test",
        publisher="tests",
        licence="Apache-2.0",
        file=f"{name}.gguf",
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        context_tokens=8,
        kv_bytes_per_token=4,
        head_count=1,
        vocabulary_size=2,
        hub=hub,
        member=r"/data/part\d+\.bin$",
        parts=parts,
    )
