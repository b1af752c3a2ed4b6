"""`run` without a server: a completion as JSON, a chat on a terminal, a model straight from a hub. It speaks nonsense."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine.tiny_models import write_plain
from tests.models.hub_server import serving_hub

from .conftest import Cli

OPTIONS = ("--max-tokens", "4", "--temperature", "0")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_plain(tmp_path_factory.mktemp("tiny") / "tiny.gguf")


def test_a_completion_as_json_from_a_hub(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    with serving_hub() as hub:
        hub.publish("org/tiny", {"tiny-F32.gguf": tiny.read_bytes()})
        variables = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "hf")}
        asked = cli("run", "org/tiny", "hi", "--json", *OPTIONS, **variables)
    assert asked.returncode == 0, asked.stderr
    completion = json.loads(asked.stdout)
    assert (completion["object"], completion["model"]) == ("chat.completion", "org/tiny:F32")
    assert completion["usage"]["completion_tokens"] == 4
    assert "fetched and verified" in asked.stderr


def test_a_chat_remembers_until_it_is_told_not_to(tiny: Path, environment: dict[str, str], tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "completionist", "run", str(tiny), *OPTIONS],
        stdin=theirs, stdout=theirs, stderr=theirs, cwd=tmp_path, env=environment | {"TERM": "dumb"},
    ) as chat:  # fmt: skip
        os.close(theirs)

        def until_asked() -> bytes:
            seen = b""
            while not seen.endswith(b">>> "):
                seen += os.read(ours, 4096)
            return seen

        def said_to(line: bytes) -> bytes:
            os.write(ours, line + b"\n")
            return until_asked()

        until_asked()
        long = b"a" * 700  # a letter is a token of this model, which holds 2,048
        too_long = b"maximum context length"
        assert [too_long in said_to(line) for line in (long, long, long, b"/clear", long)] == [
            False, False, True, False, False,
        ]  # fmt: skip
        os.write(ours, b"\x04")
        assert chat.wait(timeout=30) == 0
    os.close(ours)
