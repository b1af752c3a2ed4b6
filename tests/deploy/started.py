"""What deployment files start, held against the command and the settings that there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from completionist.cli import COMMANDS
from completionist.cli.configure import read_settings
from completionist.settings import Settings

MARGIN_S = 10
"""For the last error events and the end of the workers, after the drain."""
KEY = '[{"sha256": "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8", "project": "me"}]'


def check_command(words: Sequence[str]) -> None:
    """Fails where `completionist WORDS…` is no command with these options; nothing is run."""
    module = import_module(f"completionist.cli.{COMMANDS[words[0]].module}")
    command, rest = get_command(module.app), list(words)
    if not isinstance(command, TyperGroup):  # a module with one command is that command
        rest = rest[1:]
    while isinstance(command, TyperGroup):
        command, rest = command.commands[rest[0]], rest[1:]
    command.make_context(words[0], rest)


def settings_of(environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """What a server reads of `environment`, which must hold only what there is."""
    for name, value in environment.items():
        if name.startswith("COMPLETIONIST_"):
            monkeypatch.setenv(name, value)
    return read_settings({})
