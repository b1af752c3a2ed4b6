"""Row 53 of the abuse catalogue: SIGKILL at any moment, while clients store, change and delete."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import openai
import pysqlite3
import pytest

from completionist.settings import Settings, StoreSettings
from tests.store.databases import KindOfDatabase
from tests.support.ask import ask, ask_streamed
from tests.support.process import ServerProcess, server_process, short
from tests.support.server import MODEL

N_CLIENTS = 4
ROUNDS = [pytest.param(4), pytest.param(200, marks=[pytest.mark.large, pytest.mark.timeout(3600)])]


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
def test_row_53_killed_at_any_moment(kind: KindOfDatabase, n_rounds: int) -> None:
    url, ledger = kind.new_url(), Ledger()
    settings = Settings(store=StoreSettings(url=url))
    for number in range(n_rounds):
        with server_process(short, settings) as server:
            client = client_of(server)
            is_over = threading.Event()
            workers = [threading.Thread(target=ledger.work, args=(client, i, is_over)) for i in range(N_CLIENTS)]
            with client:
                for worker in workers:
                    worker.start()
                time.sleep(random.uniform(0.05, 0.6))  # noqa: S311 (any moment)
                server.process.kill()
                is_over.set()
                for worker in workers:
                    worker.join()
        if number % 20 == 4:
            check(ledger, settings)
    check(ledger, settings)
    assert ledger.told
    n_rows = kind.count(url, "completions")
    assert kind.count(url, "completion_messages") == n_rows
    if not kind.is_postgres:
        with closing(pysqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def check(ledger: Ledger, settings: Settings) -> None:
    with server_process(short, settings) as server, client_of(server) as client:
        ledger.check(client)


def test_a_killed_request_with_a_key_is_answered_once(kind: KindOfDatabase) -> None:
    """Whether the answer was committed before the end or not."""
    url = kind.new_url()
    settings = Settings(store=StoreSettings(url=url))
    headers = {"Idempotency-Key": "once"}
    with server_process(short, settings) as server, client_of(server) as client:
        asking = threading.Thread(target=ask_and_lose, args=(client, headers))
        asking.start()
        time.sleep(random.uniform(0.01, 0.2))  # noqa: S311 (any moment)
        server.process.kill()
        asking.join()
    with server_process(short, settings) as server, client_of(server) as client:
        answers = [ask(client, store=True, extra_headers=headers).id for _ in range(2)]
        assert answers[0] == answers[1]
        assert [completion.id for completion in client.chat.completions.list(model=MODEL)] == answers[:1]


def client_of(server: ServerProcess) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="-", max_retries=0)


def ask_and_lose(client: openai.OpenAI, headers: dict[str, str]) -> None:
    try:
        ask(client, store=True, extra_headers=headers)
    except openai.APIError:
        return
