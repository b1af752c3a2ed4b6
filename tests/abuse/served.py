"""Whole servers as processes, with directories of their own, seen from outside."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from completionist.cache import cache_directory
from completionist.settings import DEFAULT_MODEL, LogSettings, ModelSettings, Settings
from tests.support.server import MODEL, eventually

_ROOT = Path(__file__).parents[2]
_DATABASE = re.compile(r"/completionist[^/]*(?:\.db|/database)(?:-wal|-shm)?$")
_ADDRESS = re.compile(r"http://127\.0\.0\.1:([0-9]+)")


class Footprint(NamedTuple):
    """What one process holds."""

    resident_bytes: int
    """With what is swapped out."""
    n_descriptors: int
    """Without those of the store's databases, whose pools open a connection when two want one at once, and keep it."""


Footprints = dict[str, Footprint]
"""By process."""


class Served:
    """A running server: its processes, its log, its counters, its files."""

    def __init__(self, process: subprocess.Popen[str], port: int, directory: Path, model: str) -> None:
        self.process = process
        self.port = port
        self.directory = directory
        self.model = model
        self.api = psutil.Process(process.pid)
        self.when_warm = self.footprints()

    @property
    def engine(self) -> psutil.Process | None:
        """The engine worker; None while there is none, and always with the scripted engine."""
        workers = [child for child in self.api.children() if "completionist.engine.llama.worker" in _command(child)]
        return workers[0] if workers else None

    def cpu_s(self) -> float:
        """CPU time of the API process and those it started, so far."""
        return sum(sum(each.cpu_times()[:2]) for each in (self.api, *self.api.children(recursive=True)))

    def footprints(self) -> Footprints:
        """Of the API process and the engine."""
        processes = {"API": self.api} | ({"engine": engine} if (engine := self.engine) else {})
        return {who: Footprint(_resident_bytes(each), _n_descriptors(each)) for who, each in processes.items()}

    def settle(self) -> None:
        """Take what is held now, once nothing runs and every connection is closed, for what a warm server holds."""
        eventually(lambda: self.metric("num_requests_running") == self.metric("num_requests_waiting") == 0)
        eventually(lambda: len(self.api.net_connections("tcp")) == 1)
        self.when_warm = self.footprints()

    def log_text(self) -> str:
        """Everything that was logged."""
        return (self.directory / "log").read_text()

    def log_lines(self, since: int = 0, **wanted: object) -> list[dict[str, Any]]:
        """Events behind the first `since` characters of the log that carry all of `wanted`."""
        text = self.log_text()[since:]
        events = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
        return [event for event in events if wanted.items() <= event.items()]

    def metric(self, name: str) -> float:
        """The sum of all samples of one metric; `name` without the common prefix."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics") as answer:
            samples = re.findall(rf"^completionist_{name}(?:{{.*}})? (.+)$", answer.read().decode(), re.MULTILINE)
        return sum(map(float, samples))

    def files(self) -> set[Path]:
        """What is in its working, temporary and data directories."""
        return {path for path in self.directory.rglob("*") if path.is_file()}


@contextmanager
def serving_model(settings: Settings, directory: Path) -> Iterator[Served]:
    """`completionist serve` with the 135M model."""
    models = ModelSettings(cache_dir=settings.models.cache_dir or cache_directory())
    settings = settings.model_copy(update={"models": models})
    with _serving(["completionist", "serve"], settings, directory, DEFAULT_MODEL) as served:
        yield served


@contextmanager
def serving_file(file: Path, settings: Settings, directory: Path) -> Iterator[Served]:
    """`completionist serve` with a model of the tests' own."""
    with _serving(["completionist", "serve", "--model", str(file)], settings, directory, file.stem) as served:
        yield served


@contextmanager
def serving_script(script: Callable[..., object], settings: Settings, directory: Path) -> Iterator[Served]:
    """A server with a script of `tests.support.process`."""
    arguments = ["tests.support.process", script.__name__, _with_json_log(settings).model_dump_json()]
    with _serving(arguments, settings, directory, MODEL) as served:
        yield served


@contextmanager
def _serving(arguments: list[str], settings: Settings, directory: Path, model: str) -> Iterator[Served]:
    temporary = directory / "temporary"
    temporary.mkdir(parents=True)
    places = {"TMPDIR": str(temporary), "XDG_DATA_HOME": str(directory), "PYTHONPATH": str(_ROOT)}
    environment = _environment(_with_json_log(settings)) | places
    with (
        (directory / "log").open("w") as log,
        subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=directory, env=environment, stdout=subprocess.PIPE, stderr=log, text=True,
        ) as process,
    ):  # fmt: skip
        try:
            served = Served(process, _announced_port(process, directory), directory, model)
            eventually(_last_file_of_the_store(directory).exists)  # it opens beside the model
            yield served
        finally:
            process.kill()


def _announced_port(process: subprocess.Popen[str], directory: Path) -> int:
    assert process.stdout is not None
    for line in process.stdout:
        if match := _ADDRESS.search(line):
            return int(match[1])
    raise AssertionError((directory / "log").read_text())


def _last_file_of_the_store(directory: Path) -> Path:
    return directory / "completionist" / "completionist.files" / "database"


def _with_json_log(settings: Settings) -> Settings:
    return settings.model_copy(update={"log": LogSettings(format="json")})


def _environment(settings: Settings) -> dict[str, str]:
    """This environment with `settings` in place of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COMPLETIONIST_")}
    sections = settings.model_dump(mode="json", exclude={"model", "projector"})  # these two are no sections
    return kept | {f"COMPLETIONIST_{name.upper()}": json.dumps(value) for name, value in sections.items()}


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # it has just ended
        return ""


def _resident_bytes(process: psutil.Process) -> int:
    return sum(_status_bytes(process, name) for name in ("VmRSS", "VmSwap"))


def _n_descriptors(process: psutil.Process) -> int:
    return process.num_fds() - sum(_DATABASE.search(opened.path) is not None for opened in process.open_files())


def _status_bytes(process: psutil.Process, name: str) -> int:
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(f"{name}:")]
    return int(line.split()[1]) * 1024


def watch_peak(process: psutil.Process) -> Callable[[], int]:
    """By how much the resident memory of `process` was at most above what it is now, in bytes."""
    before = _status_bytes(process, "VmRSS")
    Path(f"/proc/{process.pid}/clear_refs").write_text("5")  # forget the peak so far
    return lambda: _status_bytes(process, "VmHWM") - before
