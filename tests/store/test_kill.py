"""Row 53 of the abuse catalogue: SIGKILL at any moment, while clients store, change and delete."""

from __future__ import annotations

import random
import re
import threading
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import openai
import pysqlite3
import pytest

from completionist.settings import Settings, StoreSettings
from tests.store.databases import KindOfDatabase
from tests.support import raw
from tests.support.ask import ask, ask_streamed, official
from tests.support.process import ServerProcess, server_process, short, slow
from tests.support.server import eventually

N_CLIENTS = 4
LONG = [pytest.mark.large, pytest.mark.timeout(1200)]
ROUNDS = [pytest.param(1, id="1"), *(pytest.param(50, marks=LONG, id=f"50-{piece}") for piece in range(4))]
"""The long loop is cut into pieces, each with a database of its own."""


RUNNING = re.compile(rb"^completionist_num_requests_running.* 6[.]0$", re.MULTILINE)


class Ledger:
    """What clients were told: their completions with the metadata that each must have, None where it must be gone."""

    def __init__(self) -> None:
        self.told: dict[str, dict[str, str] | None] = {}
        self.asked: dict[str, dict[str, str] | None] = {}
        """Changes that were sent and not answered: they may have happened."""

    def work(self, client: openai.OpenAI, number: int, is_over: threading.Event) -> None:
        """Until the server is gone."""
        i = 0
        while not is_over.is_set():
            i += 1
            try:
                self._store(client, {"client": str(number), "i": str(i)}, is_streamed=i % 2 == 0)
            except (openai.APIError, openai.APIConnectionError):
                return

    def _store(self, client: openai.OpenAI, metadata: dict[str, str], *, is_streamed: bool) -> None:
        if is_streamed:
            id_ = ask_streamed(client, store=True, metadata=metadata)[-1].id
        else:
            id_ = ask(client, store=True, metadata=metadata).id
        self.told[id_] = metadata
        if int(metadata["i"]) % 3 == 0:
            self._change(id_, {"new": "1"}, lambda: client.chat.completions.update(id_, metadata={"new": "1"}))
        if int(metadata["i"]) % 5 == 0:
            self._change(id_, None, lambda: client.chat.completions.delete(id_))

    def _change(self, id_: str, to: dict[str, str] | None, change: Callable[[], Any]) -> None:
        self.asked[id_] = to
        change()
        self.told[id_] = self.asked.pop(id_)

    def has_more_than(self, n: int) -> bool:
        return len(self.told) > n

    def check(self, client: openai.OpenAI) -> None:
        found = {completion.id: completion for completion in client.chat.completions.list(limit=100)}
        for id_, metadata in self.told.items():
            now = found[id_].metadata if id_ in found else None
            assert now == metadata or (id_ in self.asked and now == self.asked[id_]), (id_, now, metadata)
        for id_, completion in found.items():  # whoever was told of it or not
            assert completion.choices[0].message.content == "High water"
            assert completion.choices[0].finish_reason == "stop"
            (message,) = client.chat.completions.messages.list(id_)
            assert message.content == "When is high water?"


@pytest.mark.parametrize("n_rounds", ROUNDS)
def test_row_53_killed_at_any_moment(
    kind: KindOfDatabase, n_rounds: int, record_property: Callable[[str, object], None]
) -> None:
    url, ledger = kind.new_url(), Ledger()
    settings = Settings(store=StoreSettings(url=url))
    for number in range(n_rounds):
        with server_process(short, settings) as server:
            client = client_of(server)
            is_over = threading.Event()
            workers = [threading.Thread(target=ledger.work, args=(client, i, is_over)) for i in range(N_CLIENTS)]
            n_told = len(ledger.told)
            with client:
                for worker in workers:
                    worker.start()
                eventually(partial(ledger.has_more_than, n_told))
                time.sleep(random.uniform(0, 0.4))  # noqa: S311 (any moment)
                server.process.kill()
                is_over.set()
                for worker in workers:
                    worker.join()
        if number % 20 == 4:
            check(ledger, settings)
    check(ledger, settings)
    assert ledger.told
    n_rows = kind.count(url, "completions")
    record_property("kills, answers seen, rows", (n_rounds, len(ledger.told), n_rows))
    assert kind.count(url, "completion_messages") == n_rows
    if not kind.is_postgres:
        with closing(pysqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def check(ledger: Ledger, settings: Settings) -> None:
    with server_process(short, settings) as server, client_of(server) as client:
        ledger.check(client)


def test_row_53_nothing_is_told_before_it_is_committed(tmp_path: Path) -> None:
    """Another process holds the database, so that no commit comes to its end, nor the answer that waits for it."""
    file = tmp_path / "x.db"
    settings = Settings(store=StoreSettings(url=f"sqlite:///{file}"))
    with server_process(short, settings) as server, client_of(server) as client, raw.connection(server.port) as sock:
        ask(client, store=True)
        with closing(pysqlite3.connect(file)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            body = raw.chat(stream=True, store=True)
            sock.sendall(raw.request("POST", "/v1/chat/completions", "Connection: close", body=body))
            received = b""
            while b" water" not in received:
                received += sock.recv(65536)
            for _ in range(3):  # whatever comes next has had its time
                ask(client)
            server.process.kill()
        received += raw.read_to_end(sock)
        assert b'"finish_reason":"stop"' not in received
        assert b"[DONE]" not in received


@pytest.mark.parametrize("n_rounds", [pytest.param(1), pytest.param(60, marks=LONG)])
def test_row_51_a_killed_request_with_a_key_is_answered_once(kind: KindOfDatabase, n_rounds: int) -> None:
    """Whether the answer was committed before the end or not, and however many ask again at once."""
    settings = Settings(store=StoreSettings(url=kind.new_url()))
    key = ""
    for number in range(n_rounds + 1):
        with server_process(short, settings) as server, client_of(server) as client, ThreadPoolExecutor(4) as pool:
            if key:
                answers = set(pool.map(ask_or_lose, [client] * 8, [key] * 8)) - {None}
                assert [found.id for found in client.chat.completions.list(metadata={"key": key})] == list(answers)
            if number < n_rounds:
                key = f"once-{number}"
                asking = pool.submit(ask_or_lose, client, key)
                time.sleep(random.uniform(0.01, 0.1))  # noqa: S311 (any moment)
                server.process.kill()
                asking.result()


@pytest.mark.parametrize("n_signals", [1, pytest.param(2, marks=pytest.mark.large)])
def test_row_56_what_ends_before_the_server_does_is_stored(kind: KindOfDatabase, n_signals: int) -> None:
    """The first signal lets answers end, the second cuts them off: they are stored whole, or not at all."""
    settings = Settings(store=StoreSettings(url=kind.new_url()))
    with server_process(slow, settings) as server, client_of(server) as client, ThreadPoolExecutor(6) as pool:
        asking = [pool.submit(ask_for_all, client, is_streamed=number % 2 == 0) for number in range(6)]
        eventually(lambda: RUNNING.search(metrics(server)))
        for _ in range(n_signals):
            server.process.terminate()
            eventually(lambda: raw.is_refused(server.port))  # it has heard it
        seen = {each.result() for each in asking}
        assert (server.wait()[0] == 0) == (n_signals == 1)
    assert (None in seen, len(seen)) == ((False, 6) if n_signals == 1 else (True, 1))
    with server_process(short, settings) as server, client_of(server) as client:
        found = list(client.chat.completions.list())
        assert {completion.id for completion in found} == seen - {None}
        assert {completion.choices[0].message.content for completion in found} <= {"High water"}


def client_of(server: ServerProcess) -> openai.OpenAI:
    return official(f"{server.url}/v1", api_key="-", max_retries=0)


def ask_or_lose(client: openai.OpenAI, key: str) -> str | None:
    """The id of the answer; None where the server went first, or another one asks with the same key."""
    try:
        return ask(client, store=True, metadata={"key": key}, extra_headers={"Idempotency-Key": key}).id
    except (openai.ConflictError, openai.APIConnectionError):
        return None


def ask_for_all(client: openai.OpenAI, *, is_streamed: bool) -> str | None:
    """The id of an answer that is stored; None where it ended in an error."""
    try:
        return ask_streamed(client, store=True)[-1].id if is_streamed else ask(client, store=True).id
    except openai.APIError:
        return None


def metrics(server: ServerProcess) -> bytes:
    with urllib.request.urlopen(f"{server.url}/metrics") as answer:
        text: bytes = answer.read()
    return text
