"""The commands for the database and for JSON lines, on both databases."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pysqlite3
import pytest

from completionist.cli import run
from tests.store.databases import KindOfDatabase
from tests.store.tenants import Tenants, tenants_of
from tests.support.ask import ask
from tests.support.server import eventually

Command = Callable[..., int]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """`command(url, "db", "check")`: the exit code."""

    def do(url: str, *arguments: str) -> int:
        config = tmp_path / "completionist.toml"
        config.write_text(f"[store]\nurl = {json.dumps(url)}\n")
        return run([*arguments, "--config", str(config)])

    return do


def fill(tenants: Tenants) -> list[str]:
    """Completions of two projects, some changed, one deleted, one asked with a key."""
    made = [tenants.store(metadata={"team": "blue", "i": str(i)}, n=2)[0].id for i in range(7)]
    ask(tenants.others, store=True, metadata={"team": "blue"})
    ask(tenants.mine, store=False, extra_headers={"Idempotency-Key": "k"})
    tenants.mine.chat.completions.update(made[0], metadata={"team": "red\0"})
    tenants.mine.chat.completions.delete(made.pop())
    return made


def wire(tenants: Tenants, ids: list[str]) -> list[Any]:
    """Everything that clients see of them."""
    completions = tenants.mine.chat.completions
    return [
        (
            completions.with_raw_response.retrieve(id_).http_response.json(),
            completions.messages.with_raw_response.list(id_).http_response.json(),
        )
        for id_ in ids
    ]


def test_an_empty_database_is_brought_up_and_sound(
    kind: KindOfDatabase, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    url = kind.new_url()
    assert command(url, "db", "check") == 1
    assert "completionist db migrate" in capsys.readouterr().err
    assert command(url, "db", "migrate") == command(url, "db", "migrate") == command(url, "db", "check") == 0
    assert "(it was empty)" in capsys.readouterr().out


def test_a_copy_to_another_database_goes_on_and_is_compared(
    kind: KindOfDatabase, command: Command, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    source = kind.new_url()
    target = f"sqlite:///{tmp_path}/copy.db" if kind.is_postgres else request.getfixturevalue("postgres_url")
    with tenants_of(source) as tenants:
        made = fill(tenants)
        before = wire(tenants, made)
    assert command(source, "db", "copy", target) == 0
    assert command(source, "db", "copy", target) == 0  # nothing is left to do
    assert command(target, "db", "check") == 0
    with tenants_of(target) as tenants:
        assert wire(tenants, made) == before
        assert tenants.listed() == made
        assert tenants.listed(metadata={"team": "red\0"}) == made[:1]
        made += [tenants.store()[0].id]  # its number is a new one
        assert tenants.listed() == made
    assert command(source, "db", "copy", target) == 1  # they differ now
    assert command(source, "db", "copy", source) == 1


def test_a_copy_that_was_interrupted_goes_on(kind: KindOfDatabase, command: Command, tmp_path: Path) -> None:
    source, target = kind.new_url(), kind.new_url()
    with tenants_of(source) as tenants:
        fill(tenants)
    assert command(source, "db", "copy", target) == 0
    kind.query(target, "DELETE FROM completion_messages WHERE sequence >= 4")
    kind.query(target, "DELETE FROM completion_metadata WHERE sequence >= 4")
    kind.query(target, "DELETE FROM completions WHERE sequence >= 5")
    assert command(target, "db", "check") == 1
    assert command(source, "db", "copy", target) == command(target, "db", "check") == 0


def test_a_backup_is_whole_while_others_write(
    kind: KindOfDatabase, command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url, file = kind.new_url(), tmp_path / "backup.db"
    with tenants_of(url) as tenants:
        made = fill(tenants)
        before = wire(tenants, made)
        assert command(url, "db", "backup", str(file)) == (1 if kind.is_postgres else 0)
        tenants.store()
    if kind.is_postgres:
        assert not file.exists()
        return
    assert file.stat().st_mode & 0o077 == 0
    assert command(url, "db", "backup", str(file)) == 1  # it is there
    assert command(url, "db", "backup", str(tmp_path / "nowhere" / "backup.db")) == 1
    assert "No such file or directory" in capsys.readouterr().err
    with tenants_of(f"sqlite:///{file}") as tenants:
        assert wire(tenants, made) == before
        assert tenants.listed() == made


def test_damage_is_found(kind: KindOfDatabase, command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    url = kind.new_url()
    with tenants_of(url) as tenants:
        made = fill(tenants)
    kind.query(url, "UPDATE completions SET document = '{' WHERE sequence = 1")
    kind.query(url, "DELETE FROM completion_messages WHERE sequence = 2")
    kind.query(url, "UPDATE completions SET metadata = '{}' WHERE sequence = 3")
    assert command(url, "db", "check") == 1
    *faults, summary = capsys.readouterr().err.strip().splitlines()
    assert {fault.split()[0] for fault in faults} == set(made[:3])
    assert summary == "completionist: 3 faults in the database"
    assert command(url, "db", "check", "--json") == 1
    assert json.loads(capsys.readouterr().out) == {"is_sound": False, "faults": faults}


def test_a_project_is_deleted_without_a_trace(
    kind: KindOfDatabase, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    url = kind.new_url()
    with tenants_of(url) as tenants:
        made = fill(tenants)
        assert command(url, "db", "delete-project", "mine", "--yes", "--json") == 0  # while the server runs
        proof = json.loads(capsys.readouterr().out)
        assert proof["before"]["completions"] == len(made)
        assert set(proof["after"].values()) == {0}
        assert proof["traces"] == (None if kind.is_postgres else 0)
        assert tenants.listed() == []
        assert len(list(tenants.others.chat.completions.list())) == 1
    for table in ("completions", "completion_messages", "completion_metadata"):
        assert kind.count(url, table) == 1
    assert kind.count(url, "deleted_completions") == kind.count(url, "idempotency_keys") == 0
    assert command(url, "db", "check") == 0


def test_what_is_exported_raw_is_imported_whole(kind: KindOfDatabase, command: Command, tmp_path: Path) -> None:
    source, target, file = kind.new_url(), kind.new_url(), tmp_path / "raw.jsonl"
    with tenants_of(source) as tenants:
        made = fill(tenants)
        before = wire(tenants, made)
    assert command(source, "export", str(file), "--project", "mine") == 0
    assert command(source, "export", str(file), "--project", "mine") == 1  # it is there
    assert command(target, "import", str(file), "--project", "mine") == 0
    assert command(target, "import", str(file), "--project", "mine") == 0  # again: nothing new
    assert command(target, "db", "check") == 0
    with tenants_of(target) as tenants:
        assert wire(tenants, made) == before
        assert tenants.listed() == made
        assert tenants.listed(metadata={"team": "red\0"}) == made[:1]


@pytest.mark.parametrize("shape", ["raw", "fine-tuning", "evaluation"])
def test_an_interrupted_export_goes_on(
    kind: KindOfDatabase, command: Command, tmp_path: Path, shape: str, capsys: pytest.CaptureFixture[str]
) -> None:
    url, file = kind.new_url(), tmp_path / "out.jsonl"
    note = file.with_name("out.jsonl.position")
    with tenants_of(url) as tenants:
        made = fill(tenants)
    export = ("export", str(file), "--project", "mine", "--shape", shape)
    assert command(url, *export) == 0
    assert file.stat().st_mode & 0o077 == 0
    whole = file.read_bytes()
    n_lines = 1 if shape == "raw" else 2  # of one completion, which has two choices
    size = len(b"".join(whole.splitlines(keepends=True)[:n_lines]))
    what: dict[str, Any] = {"shape": shape, "project": "mine", "model": None, "metadata": []}
    for size_bytes, after in (
        (size, made[0]),
        (0, None),
    ):  # killed behind a mark in the middle of a line, and before any
        file.write_bytes(whole[: size + 50])
        note.write_text(json.dumps({"of": what, "after": after, "bytes": size_bytes}))
        assert command(url, *export) == 0
        assert file.read_bytes() == whole
        assert list(tmp_path.glob("out*")) == [file]
    for of, size_bytes, reason in ((what | {"project": "others"}, 0, "another export"), (what, 10**6, "shorter")):
        note.write_text(json.dumps({"of": of, "after": None, "bytes": size_bytes}))
        assert command(url, *export) == 1
        assert reason in capsys.readouterr().err
        assert file.read_bytes() == whole


def test_an_export_that_is_killed_goes_on(tmp_path: Path, command: Command) -> None:
    kind = KindOfDatabase(lambda: f"sqlite:///{tmp_path}/x.db", None)
    url, file, again = kind.new_url(), tmp_path / "out.jsonl", tmp_path / "again.jsonl"
    with tenants_of(url) as tenants:
        fill(tenants)
    rows = "WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 6000) "
    places = "SELECT 'mine', 'chatcmpl-' || i, created, model, '{}', replace(document, id, 'chatcmpl-' || i) "
    kind.query(
        url,
        f"INSERT INTO completions (project, id, created, model, metadata, document) {rows}{places}"
        "FROM completions, n WHERE sequence = 1",
    )
    environment = os.environ | {"COMPLETIONIST_STORE__URL": url}
    arguments = [sys.executable, "-m", "completionist", "export", str(file), "--project", "mine"]
    with subprocess.Popen(arguments, env=environment) as process:
        eventually(lambda: file.exists() and file.stat().st_size > 500_000)
        process.kill()
    assert file.with_name("out.jsonl.position").exists()
    assert command(url, "export", str(file), "--project", "mine") == 0
    assert command(url, "export", str(again), "--project", "mine") == 0
    assert file.read_bytes() == again.read_bytes()


def test_the_shapes_of_training_and_evaluation(
    tenants: Tenants, command: Command, tmp_path: Path, kind: KindOfDatabase
) -> None:
    parts = [{"type": "text", "text": "a"}]
    tenants.store(
        n=2, messages=[{"role": "system", "content": "s"}, {"role": "user", "content": parts}], metadata={"k": "v"}
    )  # fmt: skip
    tenants.store(metadata={"k": "w"})
    sent = [{"role": "system", "content": "s"}, {"role": "user", "content": parts}]
    lines = {}
    for shape in ("fine-tuning", "evaluation"):
        file = tmp_path / shape
        assert (
            command(tenants.url, "export", str(file), "--project", "mine", "--shape", shape, "--metadata", "k=v") == 0
        )
        lines[shape] = [json.loads(line) for line in file.read_text().splitlines()]
    assert lines["fine-tuning"] == [{"messages": [*sent, {"role": "assistant", "content": "High water"}]}] * 2
    assert [line["item"] for line in lines["evaluation"]] == [{"input": sent, "metadata": {"k": "v"}}] * 2
    assert [line["sample"]["output_text"] for line in lines["evaluation"]] == ["High water"] * 2


@pytest.mark.parametrize("shape", ["fine-tuning", "evaluation"])
def test_lines_for_training_and_evaluation_come_in_again(
    kind: KindOfDatabase, command: Command, tmp_path: Path, shape: str
) -> None:
    """The conversations, the answers, tools and metadata; of an evaluation what else it says."""
    source, target = kind.new_url(), kind.new_url()
    file, again = tmp_path / "out.jsonl", tmp_path / "again.jsonl"
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
    with tenants_of(source) as tenants:
        tenants.store(n=2, tools=tools, tool_choice="none", metadata={"k": "v"})
        tenants.store(messages=[{"role": "user", "content": [{"type": "text", "text": "a\0"}], "name": "n"}])
        before = [one.to_dict() for one in tenants.mine.chat.completions.list()]
    export = ("export", "--project", "mine", "--shape", shape)
    assert command(source, *export, str(file)) == 0
    bring = ("import", str(file), "--project", "mine", "--model", "m")
    assert command(target, *bring) == command(target, *bring) == command(target, "db", "check") == 0
    assert command(target, *export, str(again)) == 0
    assert again.read_bytes() == file.read_bytes()
    with tenants_of(target) as tenants:
        found = list(tenants.mine.chat.completions.list())
        if shape == "evaluation":
            lost = {"request_id": None, "system_fingerprint": "", "tool_choice": None}
            assert [one.to_dict() for one in found] == [one | lost for one in before]


RAW: dict[str, Any] = {
    "completion": {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m", "metadata": {}, "usage": {},
        "tools": None, "choices": [{"index": 0, "finish_reason": "stop", "message": {
            "role": "assistant", "content": "x", "refusal": None, "tool_calls": None, "function_call": None}}],
    },
    "messages": [{"role": "user", "content": "?", "content_parts": None}],
}  # fmt: skip
HELLO = {"role": "user", "content": "?"}


def raw_but(**fields: Any) -> str:
    return json.dumps(RAW | {"completion": RAW["completion"] | fields})


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "no completion"),
        ("[]", "no completion"),
        (raw_but(id="../x"), "no completion"),
        (raw_but(created=-1), "no completion"),
        (raw_but(choices=[]), "no completion"),
        (raw_but(choices=[{"index": 0, "message": {}, "finish_reason": "stop"}]), "no completion"),
        (json.dumps(RAW | {"messages": []}), "no completion"),
        (json.dumps(RAW | {"messages": [{}]}), "no completion"),
        (raw_but(metadata={"a": 1}), "no completion"),
        (raw_but(metadata={"k" * 65: ""}), "too long"),
        (json.dumps({"messages": [HELLO]}), "no completion"),
        (json.dumps({"messages": [HELLO, HELLO]}), "not the assistant's"),
        (json.dumps({"messages": [{"role": "foo"}, HELLO]}), "messages[0].role"),
        (json.dumps({"messages": [HELLO, HELLO], "weight": 1}), "weight"),
        (json.dumps({"item": {"input": []}, "sample": {"output_text": ""}}), "no completion"),
        (json.dumps({"item": {"input": [HELLO]}, "sample": {"output_text": 1}}), "no completion"),
    ],
)
def test_a_line_that_is_no_completion_is_named(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, reason: str
) -> None:
    """What stands before it is there."""
    url, file = f"sqlite:///{tmp_path}/x.db", tmp_path / "bad.jsonl"
    judged = {"item": {"input": [HELLO]}, "sample": {"id": "chatcmpl-3", "output_text": "x"}}
    file.write_text("\n".join([raw_but(id="chatcmpl-2"), "", json.dumps(judged), line]))
    assert command(url, "import", str(file), "--model", "m") == 1
    message = capsys.readouterr().err
    assert message.startswith("completionist: line 4: ")
    assert reason in message
    assert command(url, "export", "-") == 0
    assert "2 completions" in capsys.readouterr().err


def test_a_line_that_names_no_model_wants_one(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "tuning.jsonl"
    file.write_text(json.dumps({"messages": [HELLO, {"role": "assistant", "content": "x"}]}))
    assert command(f"sqlite:///{tmp_path}/x.db", "import", str(file)) == 1
    assert "--model" in capsys.readouterr().err


def test_what_was_deleted_may_come_in_again(kind: KindOfDatabase, command: Command, tmp_path: Path) -> None:
    """And be deleted, and swept; but not into another project."""
    url, file = kind.new_url(), tmp_path / "raw.jsonl"
    with tenants_of(url) as tenants:
        made = fill(tenants)
        assert command(url, "export", str(file), "--project", "mine") == 0
        for _ in range(2):
            for id_ in made[:-1]:
                tenants.mine.chat.completions.delete(id_)
            assert command(url, "import", str(file), "--project", "mine") == 0
            assert set(tenants.listed()) == set(made)
        month_s = 31 * 86_400
        for table in ("completions", "completion_metadata"):
            kind.query(url, f"UPDATE {table} SET created = created - {month_s}")  # noqa: S608 (tables of ours)
        tenants.server.on_loop(tenants.server.store.sweep())
        assert kind.count(url, "completions") == 0
        assert command(url, "import", str(file), "--project", "mine") == 0
        assert command(url, "import", str(file), "--project", "others") == 1


def test_a_schema_that_is_not_taken_is_one_line(
    kind: KindOfDatabase, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor is the server started, though a model may be loaded meanwhile."""
    url = kind.new_url()
    kind.query(url, "CREATE TABLE files (notes TEXT)")
    assert command(url, "db", "migrate") == command(url, "serve", "--scripted", "--port", "0") == 1
    lines = [line for line in capsys.readouterr().err.strip().splitlines() if " info " not in line]
    assert lines
    for line in lines:
        assert "files" in line
        assert "storage unavailable" in line or line.startswith("completionist: the database cannot be brought")
    kind.query(url, "SELECT notes FROM files")
    kind.query(url, "CREATE TABLE completions (x INTEGER)")  # nothing of the new schema stayed


def test_a_database_of_a_newer_version_is_refused(kind: KindOfDatabase, command: Command) -> None:
    url = kind.new_url()
    assert command(url, "db", "migrate") == 0
    kind.query(url, "UPDATE alembic_version SET version_num = '9999'")
    assert command(url, "db", "migrate") == 1


def test_a_database_that_cannot_be_reached_is_one_line(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    for url in (f"sqlite:///{tmp_path}/file/x.db", "postgresql://u:secret@localhost:1/x", "sqlite://", "postgresql"):
        assert command(url, "db", "check") == 1
        message = capsys.readouterr().err
        assert len(message.splitlines()) == 1
        assert "secret" not in message


def test_what_is_no_database_is_left_alone(tmp_path: Path, command: Command) -> None:
    """A file that is no database is left as it is."""
    file = tmp_path / "notes.db"
    file.write_text("dear diary, " * 1000)
    assert command(f"sqlite:///{file}", "db", "migrate") == 1
    assert file.read_text().startswith("dear diary")
    with closing(pysqlite3.connect(file)) as connection, pytest.raises(pysqlite3.DatabaseError):
        connection.execute("SELECT 1 FROM sqlite_master").fetchall()
