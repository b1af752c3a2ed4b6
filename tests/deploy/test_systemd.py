"""The unit is one that systemd takes, and starts what is there."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from completionist.cli.configure import read_settings
from tests.deploy.started import MARGIN_S, check_command

PLACE = Path(__file__).parents[2] / "deploy" / "systemd"
UNIT = PLACE / "completionist.service"
INSTALLED = "/opt/completionist/.venv/bin/completionist"


def directives() -> dict[str, dict[str, list[str]]]:
    """By section and name; what is given twice has two values."""
    sections: dict[str, dict[str, list[str]]] = {}
    for line in UNIT.read_text().splitlines():
        if found := re.fullmatch(r"\[(\w+)\]", line):
            sections[found[1]] = defaultdict(list)
        elif line and not line.startswith("#"):
            name, is_there, value = line.partition("=")
            assert is_there, line
            list(sections.values())[-1][name].append(value)
    return sections


def test_it_has_its_sections_and_starts_a_command() -> None:
    sections = directives()
    assert list(sections) == ["Unit", "Service", "Install"]
    program, *words = sections["Service"]["ExecStart"][0].split()
    assert program == INSTALLED
    check_command(words)


def test_there_is_time_for_the_drain_and_the_signal_goes_to_one_process() -> None:
    service = directives()["Service"]
    settings = read_settings({}, PLACE / "config.toml")
    assert int(service["TimeoutStopSec"][0]) >= settings.server.drain_timeout_s + MARGIN_S
    assert service["KillMode"] == ["mixed"]


def test_what_the_settings_name_may_be_written() -> None:
    service = directives()["Service"]
    settings = read_settings({}, PLACE / "config.toml")
    state, cache = f"/var/lib/{service['StateDirectory'][0]}", f"/var/cache/{service['CacheDirectory'][0]}"
    assert settings.store.url
    assert settings.store.url.startswith(f"sqlite:///{state}/")
    assert str(settings.models.cache_dir) == cache
    variables = dict(value.split("=", 1) for value in service["Environment"])
    assert variables["HF_HOME"].startswith(cache)
    assert f"{variables['XDG_DATA_HOME']}/completionist" == state
    assert variables["COMPLETIONIST_CONFIG"] == f"/etc/{service['ConfigurationDirectory'][0]}/config.toml"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze here")
def test_systemd_takes_it_and_finds_it_closed(tmp_path: Path) -> None:
    here = str(Path(sys.executable).parent / "completionist")
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace(INSTALLED, here))
    verified = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(unit)]
    rated = subprocess.run(command, capture_output=True, text=True, check=False)
    assert rated.returncode == 0, rated.stdout
