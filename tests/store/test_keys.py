"""Keys, projects and blocks in the database, on both databases, changed by commands beside a running server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from completionist import ids
from completionist.api import keyring
from completionist.cli import run
from completionist.settings import ServerSettings, Settings, StoreSettings
from tests.store.databases import KindOfDatabase
from tests.support import raw
from tests.support.ask import ask, official
from tests.support.server import MODEL, RunningServer, eventually, running_server


class Operator:
    """A server that started without a key, and whoever runs commands beside it."""

    def __init__(self, server: RunningServer, url: str, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.server = server
        self.url = url
        self._config = config
        self._capsys = capsys

    def run(self, *arguments: str) -> str:
        """What a command printed."""
        code = run([*arguments, "--config", str(self._config)])
        printed = self._capsys.readouterr()
        assert code == 0, printed.err
        return printed.out.strip()

    def refused(self, *arguments: str) -> str:
        """The line that a command was refused with."""
        assert run([*arguments, "--config", str(self._config)]) != 0
        return self._capsys.readouterr().err

    def create(self, *options: str) -> dict[str, str]:
        made: dict[str, str] = json.loads(self.run("keys", "create", "--json", *options))
        return made

    def client(self, key: str, **options: Any) -> openai.OpenAI:
        return official(self.server.base_url, api_key=key, max_retries=0, timeout=30, **options)

    def status(self, key: str) -> int:
        """Of a request with `key`."""
        sent = raw.request("GET", "/v1/models", f"Authorization: Bearer {key}")
        return raw.send(self.server.port, sent).status

    def eventually(self, key: str, status: int) -> None:
        eventually(lambda: self.status(key) == status)


@pytest.fixture(scope="module")
def served(kind: KindOfDatabase) -> Iterator[tuple[RunningServer, str]]:
    url = kind.new_url()
    settings = Settings(server=ServerSettings(port=0, drain_timeout_s=0), store=StoreSettings(url=url))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keyring, "REFRESH_S", 0.1)
        with running_server(settings=settings) as server:
            yield server, url


@pytest.fixture
def operator(served: tuple[RunningServer, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Operator:
    config = tmp_path / "completionist.toml"
    config.write_text(f"[store]\nurl = {json.dumps(served[1])}\n")
    return Operator(*served, config, capsys)


def test_the_first_key_closes_the_door(operator: Operator) -> None:
    assert operator.status("anything") == 200
    made = operator.create("--project", "tides")
    operator.eventually(made["key"], 200)
    operator.eventually("anything", 401)
    with operator.client(made["key"], project="tides", organization="default") as client:
        headers = client.models.with_raw_response.list().headers
        assert (headers["openai-project"], headers["openai-organization"]) == ("tides", "default")


def test_only_a_digest_is_kept(operator: Operator, kind: KindOfDatabase) -> None:
    key = operator.create("--name", "of the harbour")["key"]
    rows = kind.query(operator.url, "SELECT * FROM api_keys")
    assert "of the harbour" in str(rows)
    assert key[3:] not in str(rows)
    assert key[3:] not in operator.run("keys", "list")
    assert operator.run("keys", "create").startswith("sk-")  # alone on its line


def test_a_revoked_key_stops_working(operator: Operator) -> None:
    made = operator.create()
    operator.eventually(made["key"], 200)
    operator.run("keys", "revoke", made["id"])
    operator.eventually(made["key"], 401)
    assert "revoked" in operator.run("keys", "list")
    assert "no key" in operator.refused("keys", "rotate", made["id"])


def test_a_rotated_key_stops_working_after_its_overlap(operator: Operator) -> None:
    made = operator.create("--project", "ebb")
    operator.eventually(made["key"], 200)
    second = json.loads(operator.run("keys", "rotate", made["id"], "--overlap", "1h", "--json"))
    assert (second["id"], second["project"]) == (made["id"], "ebb")
    operator.eventually(second["key"], 200)
    assert operator.status(made["key"]) == 200
    third = json.loads(operator.run("keys", "rotate", made["id"], "--json"))
    operator.eventually(third["key"], 200)
    assert (operator.status(made["key"]), operator.status(second["key"])) == (401, 401)


def test_an_expired_key_stops_working(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    made = operator.create("--expires", "1h")
    operator.eventually(made["key"], 200)
    later = ids.now_s() + 3601
    with monkeypatch.context() as clock:
        clock.setattr(ids, "now_s", lambda: later)
        assert operator.status(made["key"]) == 401
    assert "is past" in operator.refused("keys", "create", "--expires", "2020-01-01")


def test_a_key_may_do_what_its_scopes_say(operator: Operator) -> None:
    made = operator.create("--scopes", "model.read")
    operator.eventually(made["key"], 200)
    with operator.client(made["key"]) as client, pytest.raises(openai.PermissionDeniedError) as refused:
        ask(client)
    assert refused.value.code is None
    assert refused.value.body == {
        "message": (
            "You have insufficient permissions for this operation. Missing scopes: model.request. Check that you have the "
            "correct role in your organization (Reader, Writer, Owner) and project (Member, Owner), and if you're using a "
            "restricted API key, that it has the necessary scopes."
        ),
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }
    assert "unknown scope" in operator.refused("keys", "create", "--scopes", "model.write")


def test_a_project_gives_its_organisation(operator: Operator) -> None:
    operator.run("projects", "create", "harbour", "--organization", "port")
    made = operator.create("--project", "harbour")
    operator.eventually(made["key"], 200)
    with operator.client(made["key"], organization="port") as client:
        assert client.models.with_raw_response.list().headers["openai-organization"] == "port"
    assert "port" in operator.run("projects", "list")


def test_a_project_is_changed_in_part(operator: Operator) -> None:
    made = json.loads(operator.run("projects", "create", "quay", "--requests-per-minute", "9000", "--json"))
    key = operator.create("--project", "quay")["key"]
    operator.run("projects", "update", "quay", "--concurrent-requests", "3", "--tokens-per-minute", "80000")
    changed = json.loads(operator.run("projects", "update", "quay", "--organization", "port", "--json"))
    limits = {"requests_per_minute": 9000, "concurrent_requests": 3, "tokens_per_minute": 80_000}
    assert changed == made | {"organization": "port", "limits": made["limits"] | limits}
    operator.eventually(key, 200)
    with operator.client(key) as client:
        create = client.chat.completions.with_raw_response.create
        asked: Any = {"model": MODEL, "messages": [{"role": "user", "content": "x"}], "max_completion_tokens": 1}
        eventually(lambda: create(**asked).headers.get("x-ratelimit-limit-project-tokens") == "80000")
    freed = json.loads(operator.run("projects", "update", "quay", "--no-limits", "--tokens-per-month", "5", "--json"))
    assert [value for value in freed["limits"].values() if value is not None] == [5]
    assert "there is no project pier" in operator.refused("projects", "update", "pier")
    assert "cannot be a name" in operator.refused("projects", "update", "quay", "--organization", "a b")


def test_what_commands_did_is_there_for_programs(operator: Operator) -> None:
    made = operator.create()
    assert json.loads(operator.run("keys", "revoke", made["id"], "--json")) == {"id": made["id"], "revoked": True}
    assert json.loads(operator.run("keys", "delete", made["id"], "--json")) == {"id": made["id"], "deleted": True}
    one = {"end_user": "eve", "project": ""}
    assert json.loads(operator.run("block", "eve", "--json")) == one
    assert json.loads(operator.run("blocked", "--json")) == [one]
    assert json.loads(operator.run("unblock", "eve", "--json")) == one


def test_keys_go_with_their_project(operator: Operator) -> None:
    made = operator.create("--project", "leaving")
    operator.eventually(made["key"], 200)
    operator.run("db", "delete-project", "leaving", "--yes")
    operator.eventually(made["key"], 401)


def test_a_server_that_knew_keys_never_opens_again(operator: Operator) -> None:
    for key in json.loads(operator.run("keys", "list", "--json")):
        operator.run("keys", "delete", key["id"])
    made = operator.create()
    operator.eventually(made["key"], 200)
    operator.run("keys", "delete", made["id"])
    operator.eventually(made["key"], 401)
    assert operator.status("anything") == 401
