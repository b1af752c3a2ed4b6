"""The published document against the server that publishes it, by schemathesis: what is within it, and what just is not."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from completionist.settings import KeySettings, ServerSettings, Settings, StoreSettings
from completionist.types.scopes import SCOPES
from tests.support.process import short
from tests.support.server import MODEL, RunningServer, running_server

_KEY = "sk-fuzz"
_NOT_CHECKED = "positive_data_acceptance,ensure_resource_availability"
"""The rules between fields of a request are not in the document, nor can what its rules for schemas say be; and of what was
created only that is kept which was to be."""


class Found(NamedTuple):
    n_cases: int
    report: str
    is_clean: bool


@contextmanager
def documented(directory: Path) -> Iterator[RunningServer]:
    """A scripted server with one key that may do everything; the guard watches its event loop."""
    key = KeySettings(sha256=hashlib.sha256(_KEY.encode()).hexdigest(), project="fuzz", scopes=tuple(SCOPES))
    settings = Settings(
        server=ServerSettings(port=0, drain_timeout_s=0),
        store=StoreSettings(url=f"sqlite:///{directory / 'store.db'}"),
        keys=(key,),
    )
    with running_server(short, settings=settings) as server:
        yield server


def fuzz(server: RunningServer, directory: Path, *options: str) -> Found:
    """Let schemathesis try the document, and say what it found and what the server takes for faults of its own."""
    document = directory / "openapi.json"
    document.write_text(json.dumps(_with_names_that_are_there(server.url)))
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", str(document), "--url", server.url,
        "--header", f"Authorization: Bearer {_KEY}", "--checks", "all", "--exclude-checks", _NOT_CHECKED,
        "--warnings", "off", "--no-color", "--continue-on-failure", *options,
    ]  # fmt: skip
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    n_cases = re.search(r"([0-9]+) generated", done.stdout)
    faults = _faults(server)
    report = "\n".join([done.stdout, done.stderr, *map(str, faults)])
    return Found(int(n_cases[1]) if n_cases else 0, report, done.returncode == 0 and not faults)


def _faults(server: RunningServer) -> Sequence[dict[str, Any]]:
    lines = server.log_lines()
    return [line for line in lines if line["level"] == "error" or line.get("status") == 500]


def _with_names_that_are_there(url: str) -> dict[str, Any]:
    """The document, with the only model there is in place of every name: else nearly all requests are 404."""
    with urllib.request.urlopen(f"{url}/openapi.json") as answer:
        document: dict[str, Any] = json.load(answer)
    document["components"]["schemas"]["ChatRequest"]["properties"]["model"] = {"const": MODEL}
    for path, operations in document["paths"].items():
        if path.endswith("{model}"):
            for operation in operations.values():
                operation["parameters"][0]["schema"] = {"enum": [MODEL, "another"]}
    return document
