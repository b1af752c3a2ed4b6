"""Container file and compose file: what they start is there, and it is started with nothing to spare."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.deploy.started import KEY, MARGIN_S, check_command, settings_of
from tests.support.server import RunningServer

ROOT = Path(__file__).parents[2]
PLACE = ROOT / "deploy" / "container"
COMPOSE: dict[str, Any] = yaml.safe_load((PLACE / "compose.yaml").read_text())
SERVER: dict[str, Any] = COMPOSE["services"]["completionist"]


class Instruction(NamedTuple):
    name: str
    value: str


def stages() -> list[list[Instruction]]:
    """The instructions of the container file, by stage."""
    text = re.sub(r"^#.*\n", "", (PLACE / "Containerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    lines = [Instruction(*line.split(None, 1)) for line in text.splitlines() if line.strip()]
    starts = [i for i, line in enumerate(lines) if line.name == "FROM"]
    assert starts[0] == 0
    return [lines[start:end] for start, end in zip(starts, [*starts[1:], len(lines)], strict=True)]


BUILD, RUN = stages()


def last(name: str) -> str:
    return [line.value for line in RUN if line.name == name][-1]


ENVIRONMENT = dict(pair.split("=", 1) for pair in shlex.split(last("ENV")))


def test_images_are_named_without_a_host() -> None:
    images = [stage[0].value.split()[0] for stage in (BUILD, RUN)]
    images += [service["image"] for service in COMPOSE["services"].values()]
    for image in images:
        assert "/" not in image
        assert ":" in image or image == "completionist"


def test_what_is_copied_is_there_and_sent_to_the_builder() -> None:
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {source for line in BUILD if line.name == "COPY" for source in line.value.split()[:-1]}
    assert copied == sent
    assert [source for source in copied if not (ROOT / source).exists()] == []


def test_packages_are_hashed_wheels() -> None:
    installs = [line.value for line in BUILD if "pip install" in line.value]
    assert len(installs) == 2
    assert {"--require-hashes", "--only-binary=:all:"} <= set(installs[0].split())
    assert {"--no-deps", "--no-index", "--no-build-isolation"} <= set(installs[1].split())


def test_it_starts_a_command_as_nobody_with_settings_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    assert re.fullmatch(r"[1-9][0-9]*:[1-9][0-9]*", last("USER"))
    assert json.loads(last("ENTRYPOINT")) == ["completionist"]
    check_command(json.loads(last("CMD")))
    settings = settings_of(ENVIRONMENT, monkeypatch)
    assert (settings.server.host, str(settings.server.port)) == ("0.0.0.0", last("EXPOSE"))  # noqa: S104
    assert last("STOPSIGNAL") == "SIGTERM"


def test_what_is_written_lies_in_volumes() -> None:
    volumes = json.loads(last("VOLUME"))
    assert ENVIRONMENT["XDG_CACHE_HOME"] in volumes
    assert f"{ENVIRONMENT['XDG_DATA_HOME']}/completionist" in volumes
    mounted = {volume.partition(":")[2] for volume in SERVER["volumes"]}
    assert mounted == set(volumes)


def test_the_health_check_tells_a_server_from_none(server: RunningServer) -> None:
    command = json.loads(last("HEALTHCHECK").partition("CMD")[2])
    assert command[0] == "python"

    def code(port: int) -> int:
        here = [sys.executable, *(word.replace(":8000/", f":{port}/") for word in command[1:])]
        return subprocess.run(here, capture_output=True, check=False).returncode

    assert (code(server.port), code(9)) == (0, 1)


def test_compose_starts_a_server_on_its_database(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "command" not in SERVER, "the image says what is started"
    variables = {name: re.sub(r"\$\{\w+:\?[^}]+\}", "secret", value) for name, value in SERVER["environment"].items()}
    settings = settings_of(ENVIRONMENT | variables | {"COMPLETIONIST_KEYS": KEY}, monkeypatch)
    database = COMPOSE["services"]["postgres"]["environment"]
    user, name = database["POSTGRES_USER"], database["POSTGRES_DB"]
    assert settings.store.url == f"postgresql://{user}:secret@postgres/{name}"
    assert int(SERVER["stop_grace_period"].removesuffix("s")) >= settings.server.drain_timeout_s + MARGIN_S
    assert COMPOSE["networks"]["database"]["internal"]
    assert COMPOSE["services"]["postgres"]["networks"] == ["database"]


def test_compose_gives_the_server_nothing_to_spare() -> None:
    assert SERVER["read_only"]
    assert SERVER["cap_drop"] == ["ALL"]
    assert SERVER["security_opt"] == ["no-new-privileges:true"]
    assert SERVER["ports"] == [f"127.0.0.1:8000:{last('EXPOSE')}"]
    assert (PLACE / SERVER["build"]["context"]).resolve() == ROOT
    assert (ROOT / SERVER["build"]["dockerfile"]).is_file()


def test_the_commands_in_the_comments_are_there() -> None:
    lines = re.findall(r"--rm completionist (.*)", (PLACE / "compose.yaml").read_text())
    assert lines
    for line in lines:
        check_command(line.split())
