"""The command as a user calls it: a process of its own, with caches and settings of its own."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from completionist.cli import run

Completed = subprocess.CompletedProcess[str]
Cli = Callable[..., Completed]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A user without caches, settings or variables of ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("COMPLETIONIST_", "XDG_", "HF_"))}
    return kept | {"HOME": str(tmp_path / "home"), "COLUMNS": "120"}


@pytest.fixture
def cli(environment: dict[str, str], tmp_path: Path) -> Cli:
    """`cli("list", "--json", COMPLETIONIST_MODEL="x", stdin="…")` runs the command in an empty directory."""

    def call(*arguments: str, stdin: str = "", **variables: str) -> Completed:
        return subprocess.run(
            [sys.executable, "-m", "completionist", *arguments],
            input=stdin, capture_output=True, text=True, cwd=tmp_path, env=environment | variables, check=False,
        )  # fmt: skip

    return call


@pytest.fixture
def quick(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Cli:
    """The same in this process, for commands that look something up, change it, or refuse: a process takes half a second."""

    def call(*arguments: str, **variables: str) -> Completed:
        with monkeypatch.context() as patch:
            patch.chdir(tmp_path)
            for name in os.environ.keys() - environment.keys():
                patch.delenv(name)
            for name, value in (environment | variables).items():
                patch.setenv(name, value)
            patch.setattr(sys, "stdin", io.StringIO())
            capsys.readouterr()
            code = run(list(arguments))
        return Completed(arguments, code, *capsys.readouterr())

    return call


def one_line(completed: Completed) -> str:
    """What a refused command said; there is one line of it and no trace."""
    assert completed.stdout == ""
    assert completed.stderr.count("\n") == 1, completed.stderr
    return completed.stderr.strip()
