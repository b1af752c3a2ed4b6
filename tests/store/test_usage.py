"""Usage and blocked end users: counted beside a running server, on both databases, told by the endpoint and the command."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.admin.organization.usage_completions_response import (
    DataResultOrganizationUsageCompletionsResult as CompletionsResult,
)

from completionist.cli import run
from completionist.settings import LimitSettings, ProjectLimits, ServerSettings, Settings, StoreSettings
from completionist.store.usage import DAY_S
from tests.store.databases import KindOfDatabase
from tests.store.tenants import KEY, OTHER_KEY, Tenants, tenants_of
from tests.support import raw
from tests.support.ask import ask, ask_streamed, official
from tests.support.server import MODEL, eventually, running_server


class Book:
    """A server, and the command that reads its database."""

    def __init__(self, tenants: Tenants, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.tenants = tenants
        self._config = config
        self._capsys = capsys

    def run(self, *arguments: str) -> str:
        assert run([*arguments, "--config", str(self._config)]) == 0
        return self._capsys.readouterr().out.strip()

    def usage(self, by: str, **filters: str) -> list[dict[str, Any]]:
        """What was counted so far, as the command shows it."""
        self.tenants.server.on_loop(self.tenants.server.services.ledger.flush())
        options = [part for name, value in filters.items() for part in (f"--{name}", value)]
        rows: list[dict[str, Any]] = json.loads(self.run("usage", "--json", "--by", by, *options))
        return rows


@pytest.fixture
def book(shared_tenants: Tenants, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Book:
    config = tmp_path / "completionist.toml"
    config.write_text(f"[store]\nurl = {json.dumps(shared_tenants.url)}\n")
    return Book(shared_tenants, config, capsys)


def test_answers_are_counted_for_their_key_model_and_end_user(book: Book) -> None:
    mine, others = book.tenants.mine, book.tenants.others
    usages = [ask(mine, user="ada").usage, ask(mine, safety_identifier="ada", user="x").usage]
    chunks = ask_streamed(mine, user="ada", stream_options={"include_usage": True})
    usages.append(chunks[-1].usage)
    ask(others, user="nul\0")
    with pytest.raises(openai.BadRequestError):
        ask(mine, n=0, user="ada")
    (row,) = book.usage("project,model,served_model,end_user", project="mine", **{"end-user": "ada"})
    assert row == {
        "project": "mine",
        "model": MODEL,
        "served_model": MODEL,
        "end_user": "ada",
        "requests": 3,
        "input_tokens": sum(usage.prompt_tokens for usage in usages if usage),
        "cached_tokens": 0,
        "output_tokens": sum(usage.completion_tokens for usage in usages if usage),
        "reasoning_tokens": 0,
    }
    assert book.usage("end_user", project="others")[0]["end_user"] == "nul\0"
    (key,) = book.usage("key", project="mine")
    assert key["key"].startswith("key_")
    (day,) = book.usage("day", project="mine")
    assert (day["day"], day["requests"]) == (int(time.time()) // DAY_S * DAY_S, 3)
    assert "\0" not in book.run("usage", "--by", "project,end_user")


def test_what_was_run_for_a_client_that_left_counts(book: Book) -> None:
    before = book.usage("project", project="mine")
    sent = raw.request(
        "POST", "/v1/chat/completions", f"Authorization: Bearer {KEY}",
        body=raw.chat(max_completion_tokens=998, stream=True, user="leaver"),
    )  # fmt: skip
    with raw.connection(book.tenants.server.port) as sock:
        sock.sendall(sent)
        eventually(lambda: book.tenants.server.engine.stats.running == 1)
        while b'"content":"High"' not in sock.recv(65536):
            pass
    eventually(lambda: book.usage("end_user", **{"end-user": "leaver"}))
    (row,) = book.usage("end_user", **{"end-user": "leaver"})
    assert (row["requests"], row["output_tokens"]) == (1, 1)
    assert book.usage("project", project="mine") != before


def test_the_official_client_reads_its_project(book: Book) -> None:
    ask(book.tenants.mine, user="grace")
    ask(book.tenants.others)
    book.usage("project")
    today = int(time.time()) // DAY_S * DAY_S
    admin = book.tenants.mine.with_options(admin_api_key=KEY).admin.organization.usage
    page = admin.completions(start_time=today - DAY_S, group_by=["project_id", "user_id", "model"])
    assert [bucket.start_time for bucket in page.data] == [today - DAY_S, today]
    results = [result for result in page.data[1].results if isinstance(result, CompletionsResult)]
    assert len(results) == len(page.data[1].results)
    assert {result.project_id for result in results} == {"mine"}  # its own alone
    (grace,) = [result for result in results if result.user_id == "grace"]
    assert (grace.num_model_requests, grace.model) == (1, MODEL)
    first = admin.completions(start_time=today - 2 * DAY_S, limit=1)
    assert first.has_more
    assert first.next_page is not None
    second = admin.completions(start_time=today - 2 * DAY_S, limit=1, page=first.next_page)
    assert second.data[0].start_time == today - DAY_S


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("", "start_time"),
        ("start_time=x", "start_time"),
        ("start_time=0&bucket_width=1h", "bucket_width"),
        ("start_time=0&group_by=colour", "group_by"),
        ("start_time=0&limit=32", "limit"),
    ],
)
def test_wrong_questions(shared_tenants: Tenants, query: str, param: str) -> None:
    path = f"/v1/organization/usage/completions?{query}"
    reply = raw.send(shared_tenants.server.port, raw.request("GET", path, f"Authorization: Bearer {OTHER_KEY}"))
    assert (reply.status, reply.error["param"]) == (400, param)


def test_a_stop_writes_what_was_counted(kind: KindOfDatabase) -> None:
    url = kind.new_url()
    with tenants_of(url) as tenants:
        for _ in range(3):
            ask(tenants.mine)
    assert kind.query(url, "SELECT project, requests FROM usage") == [("mine", "3")]


def test_a_quota_counts_what_was_used_before(kind: KindOfDatabase) -> None:
    url = kind.new_url()
    with tenants_of(url) as tenants:
        ask(tenants.mine)
    limits = LimitSettings(project=ProjectLimits(tokens_per_month=1))
    with tenants_of(url, limits=limits) as tenants:
        months = tenants.server.services.ledger.months
        assert months.used("project", "mine") == 0  # it is read once somebody asks
        tenants.server.on_loop(months.refresh())
        with pytest.raises(openai.RateLimitError) as refused:
            ask(tenants.mine)
        assert refused.value.code == "insufficient_quota"
        ask(tenants.others)


def test_a_blocked_end_user_is_refused(book: Book) -> None:
    mine, others = book.tenants.mine, book.tenants.others

    def is_refused(client: openai.OpenAI, **fields: Any) -> bool:
        try:
            ask(client, **fields)
        except openai.PermissionDeniedError as refused:
            return refused.code is None and "safety_identifier" in refused.message
        return False

    book.run("block", "mallory", "--project", "mine")
    book.run("block", "eve")
    eventually(lambda: is_refused(mine, safety_identifier="mallory") and is_refused(others, user="eve"))
    assert is_refused(mine, user="mallory")
    assert is_refused(mine, user="eve")
    assert not is_refused(others, user="mallory")
    assert not is_refused(mine, safety_identifier="bob", user="mallory")  # the identifier goes first
    assert "mallory" in book.run("blocked")
    book.run("unblock", "mallory", "--project", "mine")
    eventually(lambda: not is_refused(mine, user="mallory"))


@pytest.fixture
def keyless(kind: KindOfDatabase) -> Iterator[str]:
    settings = Settings(server=ServerSettings(port=0, drain_timeout_s=0), store=StoreSettings(url=kind.new_url()))
    with running_server(settings=settings) as server:
        yield server.base_url


def test_without_keys_everybody_here_sees_all_of_it(keyless: str) -> None:
    with official(keyless, api_key="x", admin_api_key="x", max_retries=0) as client:
        page = client.admin.organization.usage.completions(start_time=int(time.time()))
    assert [bucket.results for bucket in page.data] == [[]]
