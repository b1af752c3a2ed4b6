"""Files in a server process of their own: memory, and SIGKILL at any moment."""

from __future__ import annotations

import hashlib
import random
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import openai
import pytest

from completionist.settings import FileSettings, Settings, StoreSettings
from tests.store.databases import KindOfDatabase
from tests.support import raw
from tests.support.ask import official
from tests.support.forms import BOUNDARY, CONTENT_TYPE, PURPOSE, part
from tests.support.process import ServerProcess, server_process
from tests.support.server import eventually

MIB = 2**20
MAX_GROWTH_BYTES = 8 * MIB
"""Of resident memory, for a file of any size: a few parts of it, and what the allocator keeps of them."""

if sys.platform == "linux":
    from tests.abuse.served import watch_peak


def settings_of(url: str, directory: Path) -> Settings:
    return Settings(store=StoreSettings(url=url), files=FileSettings(directory=directory, reserve_bytes=0))


def client_of(server: ServerProcess) -> openai.OpenAI:
    return official(f"{server.url}/v1", api_key="no-key", max_retries=0, timeout=30)


def upload(server: ServerProcess, n_mib: int) -> str:
    """Sends a file that is nowhere whole on this side either; its SHA-256."""
    head, tail = PURPOSE + part("file", b"", filename="big").removesuffix(b"\r\n"), f"\r\n--{BOUNDARY}--\r\n".encode()
    digest, piece = hashlib.sha256(), random.randbytes(MIB)  # noqa: S311 (content)
    headers = (f"Content-Type: {CONTENT_TYPE}", f"Content-Length: {len(head) + n_mib * MIB + len(tail)}")
    with raw.connection(server.port) as sock:
        sock.sendall(raw.request("POST", "/v1/files", *headers) + head)
        for _ in range(n_mib):
            digest.update(piece)
            sock.sendall(piece)
        sock.sendall(tail)
        assert raw.read_reply(sock).status == 200
    return digest.hexdigest()


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.parametrize("n_mib", [20, pytest.param(200, marks=pytest.mark.large)])
def test_memory_does_not_grow_with_a_file(tmp_path: Path, n_mib: int) -> None:
    with server_process(settings=settings_of(f"sqlite:///{tmp_path}/files.db", tmp_path / "files")) as server:
        upload(server, 3)  # everything is allocated once
        with client_of(server) as client:
            for file in client.files.list():
                client.files.content(file.id).read()
            grown = watch_peak(server.facts)
            sent = upload(server, n_mib)
            (file, _) = client.files.list().data
            received = hashlib.sha256()
            with client.files.with_streaming_response.content(file.id) as answer:
                for piece in answer.iter_bytes(MIB):
                    received.update(piece)
            assert received.hexdigest() == sent
            assert file.bytes == n_mib * MIB
            assert grown() < MAX_GROWTH_BYTES


class Uploader(threading.Thread):
    """Uploads and deletes until the server is gone."""

    def __init__(self, server: ServerProcess, told: dict[str, str | None]) -> None:
        super().__init__()
        self._server = server
        self._told = told
        """By id the SHA-256 of what must be there; None: it may be there or not."""

    def run(self) -> None:
        with client_of(self._server) as client:
            try:
                while True:
                    content = random.randbytes(random.randrange(1, 3 * MIB))  # noqa: S311 (content)
                    file = client.files.create(file=("x", content), purpose="evals")
                    self._told[file.id] = hashlib.sha256(content).hexdigest()
                    if random.random() < 0.3:  # noqa: S311 (any)
                        self._told[file.id] = None
                        client.files.delete(file.id)
            except openai.APIError:
                return


def holds_just(directory: Path, ids: set[str]) -> bool:
    return {path.name for path in directory.rglob("file-*")} == ids


@pytest.mark.parametrize("n_rounds", [1, pytest.param(60, marks=[pytest.mark.large, pytest.mark.timeout(1800)])])
def test_row_53_killed_at_any_moment_of_an_upload(
    kind: KindOfDatabase, tmp_path: Path, n_rounds: int, record_property: Callable[[str, object], None]
) -> None:
    directory, told, n_told = tmp_path / "files", dict[str, str | None](), 0
    settings = settings_of(kind.new_url(), directory)
    for _ in range(n_rounds):
        with server_process(settings=settings) as server:
            uploaders = [Uploader(server, told) for _ in range(3)]
            for uploader in uploaders:
                uploader.start()
            eventually(lambda: told)
            time.sleep(random.uniform(0, 0.5))  # noqa: S311 (any moment)
            server.process.kill()
            for uploader in uploaders:
                uploader.join()
        with server_process(settings=settings) as server, client_of(server) as client:
            listed = {file.id: file.bytes for file in client.files.list()}
            assert {id_ for id_, sha256 in told.items() if sha256} <= set(listed)
            for id_, n_bytes in listed.items():  # whoever was told of it or not
                content = client.files.content(id_).read()
                assert len(content) == n_bytes
                assert told.get(id_) in {None, hashlib.sha256(content).hexdigest()}
            eventually(partial(holds_just, directory, set(listed)))
            for id_ in listed:
                client.files.delete(id_)
            n_told += len(told)
            told.clear()
    record_property("kills, uploads seen", (n_rounds, n_told))
