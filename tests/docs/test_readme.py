"""What README shows works: its Python block runs, its links lead somewhere, its commands exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from completionist.cli import run
from tests.support.server import MODEL, RunningServer

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
MAKEFILE_TARGETS = set(re.findall(r"^([a-z-]+)(?=[a-z -]*:)", (ROOT / "Makefile").read_text(), re.MULTILINE))


def block(language: str, position: int = 0) -> str:
    return str(re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)[position])


def for_server(text: str, server: RunningServer) -> str:
    return text.replace("http://127.0.0.1:8000", server.url).replace("smollm2-135m-instruct", MODEL)


def test_the_python_block_runs(server: RunningServer) -> None:
    done = subprocess.run(
        [sys.executable, "-c", for_server(block("python"), server)], capture_output=True, text=True, check=True
    )
    whole, streamed = done.stdout.split("\n", 1)
    assert whole.startswith("Hello!")
    assert streamed.strip() == whole.rsplit(" ", 1)[0]


@pytest.mark.model
def test_the_second_python_block_runs_on_the_model(real_url: str) -> None:
    opening, _, _ = block("python").partition("\nanswer = ")
    code = opening.replace("http://127.0.0.1:8000/v1", real_url) + block("python", 1)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert re.match(r"colour='.*' is_certain=(True|False)$", done.stdout)


def test_the_curl_block_is_answered(server: RunningServer) -> None:
    """Sent by a client that is here; curl may not be."""
    program, url, option, header, data_option, body = shlex.split(for_server(block("sh"), server).replace("\\\n", ""))
    assert (program, option, data_option) == ("curl", "-H", "-d")
    name, value = header.split(": ")
    answer = httpx2.post(url, headers={name: value}, content=body)
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"].startswith("Hello!")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = [t.split("#")[0] for t in re.findall(r"\]\(([^)]+)\)", page.read_text()) if "://" not in t]
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_exist(page: Path) -> None:
    named = set(re.findall(r"(?:^    |`)make ([a-z-]+)", page.read_text(), re.MULTILINE))
    assert named <= MAKEFILE_TARGETS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist(page: Path) -> None:
    named = set(re.findall(r"`(?:\.venv/bin/)?completionist ((?:engine )?[a-z]+)", page.read_text()))
    assert {words: run([*words.split(), "--help"]) for words in named} == dict.fromkeys(named, 0)
