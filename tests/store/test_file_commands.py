"""What the commands for the database do with files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from completionist.cli import run
from tests.store.databases import KindOfDatabase
from tests.store.tenants import Tenants, tenants_of

CONTENT = b"High water" * 100


def command(tenants: Tenants, tmp_path: Path, *arguments: str) -> int:
    """The exit code."""
    config = tmp_path / "completionist.toml"
    config.write_text(
        f"[store]\nurl = {json.dumps(tenants.url)}\n[files]\ndirectory = {json.dumps(str(tenants.files_directory))}\n"
    )
    return run(["db", *arguments, "--config", str(config)])


def contents(directory: Path) -> set[str]:
    return {path.name for path in directory.rglob("file-*")}


def test_commands_take_care_of_files(
    kind: KindOfDatabase, tmp_path: Path, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    with tenants_of(kind.new_url()) as tenants:
        ids = [tenants.mine.files.create(file=("a.txt", CONTENT), purpose="evals").id for _ in range(3)]
        other = tenants.others.files.create(file=("b.txt", CONTENT), purpose="evals").id
        assert command(tenants, tmp_path, "check", "--digests") == 0

        backup = tmp_path / "backup.db"
        assert command(tenants, tmp_path, "backup", str(backup)) == (1 if kind.is_postgres else 0)
        if not kind.is_postgres:
            assert contents(tmp_path / "backup.files") == {*ids, other}

        target = f"sqlite:///{tmp_path}/copy.db" if kind.is_postgres else request.getfixturevalue("postgres_url")
        assert command(tenants, tmp_path, "copy", target) == 0
        with tenants_of(target) as copied:
            assert [file.id for file in copied.mine.files.list(order="asc")] == ids

        (path,) = tenants.files_directory.rglob(ids[0])
        path.write_bytes(CONTENT[::-1])
        next(tenants.files_directory.rglob(ids[1])).write_bytes(b"short")
        next(tenants.files_directory.rglob(ids[2])).unlink()
        capsys.readouterr()
        assert command(tenants, tmp_path, "check") == 1
        assert {line.split()[-2] for line in capsys.readouterr().err.splitlines()[:-1]} == {"was", "no"}
        assert command(tenants, tmp_path, "check", "--digests") == 1
        assert len(capsys.readouterr().err.splitlines()) == 4

        assert command(tenants, tmp_path, "delete-project", "mine", "--yes", "--json") == 0
        proof = json.loads(capsys.readouterr().out)
        assert (proof["before"]["files"], proof["before"]["contents of files"]) == (3, 2)
        assert set(proof["after"].values()) == {0}
        assert contents(tenants.files_directory) == {other}
        assert tenants.mine.files.list().data == []
        assert tenants.others.files.content(other).read() == CONTENT
