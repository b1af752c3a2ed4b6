"""Commands that need no model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer

from completionist import __version__
from completionist.cli import COMMANDS, command_line, run
from completionist.models.catalog import catalog
from completionist.registry.aliases import Alias
from tests.cli.conftest import Cli, one_line


@pytest.mark.parametrize("spelling", ["version", "--version"])
def test_version(cli: Cli, spelling: str) -> None:
    completed = cli(spelling)
    assert (completed.returncode, completed.stdout, completed.stderr) == (0, __version__ + "\n", "")


def test_help_names_every_command(cli: Cli) -> None:
    completed = cli("--help")
    assert completed.returncode == 0
    listed = {line.split()[0] for line in completed.stdout.split("Commands:")[1].splitlines() if line.strip()}
    assert listed == {name for name, command in COMMANDS.items() if not command.is_hidden}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert run([name, "--help"]) == 0
    said = capsys.readouterr().out
    assert f"completionist {name}" in said
    assert COMMANDS[name].summary in " ".join(said.split())


WITHOUT_JSON = {"serve", "export"}
"""One runs until it is stopped, the other writes JSON lines as it is."""


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - WITHOUT_JSON))
def test_every_command_prints_json_where_it_is_asked_for(name: str) -> None:
    group = typer.main.get_command(command_line([name]))
    silent = {path for path, options in commands_in(group) if "--json" not in options}
    assert silent <= WITHOUT_JSON


def commands_in(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, set[str]]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands_in(command, (*path, name))
        else:
            yield " ".join((*path, name)), {option for one in command.params for option in one.opts}


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("completionist hearing ", {"pull", "list"}),
        ("completionist hearing list --js", {"--json"}),
        ("completionist alias set a ", set(catalog())),
        ("completionist alias set a m --profile gpt-3", {"gpt-3.5"}),
        ("completionist stop mi", {"mine"}),
        ("completionist alias rm ", {"mine"}),
    ],
)
def test_a_shell_completes_commands_options_and_names(
    line: str, offered: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    (tmp_path / "completionist").mkdir()
    (tmp_path / "completionist" / "aliases.json").write_bytes(msgspec.json.encode([Alias(name="mine", model="m")]))
    words = line.split(" ")
    monkeypatch.setenv("_COMPLETIONIST_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    run([])
    assert set(capsys.readouterr().out.split()) == offered


def test_a_slip_gets_a_suggestion(cli: Cli) -> None:
    completed = cli("doctr")
    assert completed.returncode == 2
    assert "Did you mean 'doctor'?" in completed.stderr


def test_list_on_an_empty_machine(quick: Cli) -> None:
    rows = json.loads(quick("list", "--json").stdout)
    assert [row["name"] for row in rows] == list(catalog())
    assert not any(row["is_installed"] or row["path"] for row in rows)
    assert quick("list").stdout.count("not here; pull fetches") == len(rows)


def test_list_shows_what_is_here(quick: Cli, tmp_path: Path) -> None:
    entry = next(iter(catalog().values()))
    path = tmp_path / "cache" / "models" / entry.name / entry.file
    path.parent.mkdir(parents=True)
    path.write_bytes(b"GGUF")
    rows = json.loads(quick("list", "--json", COMPLETIONIST_MODELS__CACHE_DIR=str(tmp_path / "cache")).stdout)
    assert [row["name"] for row in rows if row["is_installed"]] == [entry.name]
    assert rows[0]["path"] == str(path)


def test_an_unknown_model_is_one_line(quick: Cli) -> None:
    completed = quick("pull", "smollm2-135m")
    assert completed.returncode == 1
    assert "did you mean smollm2-135m-instruct" in one_line(completed)


def test_doctor_finds_this_machine_fit(cli: Cli) -> None:
    completed = cli("doctor", "--json")
    findings = {finding["topic"]: finding for finding in json.loads(completed.stdout)}
    assert completed.returncode == 0
    assert set(findings) >= {"python", "processor", "library", "native", "memory", "cache", "disk", "models"}
    assert findings["models"]["verdict"] == "note"
    assert "none here yet" in findings["models"]["detail"]


def test_doctor_fails_where_no_library_can_run(cli: Cli) -> None:
    completed = cli("doctor", COMPLETIONIST_ENGINE__LIBRARY="/nowhere/lib.so")
    assert completed.returncode == 1
    assert "WRONG library    no llama.cpp library at /nowhere/lib.so" in completed.stdout
