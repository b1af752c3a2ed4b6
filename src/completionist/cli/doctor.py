"""`completionist doctor`: is this machine fit to serve, and would it gain from a native build?"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import msgspec
import typer

from completionist.cache import cache_directory
from completionist.cli.configure import config_file, read_settings
from completionist.cli.options import Config, Json
from completionist.cli.terminal import json_text, megabytes
from completionist.engine.llama.library import LibraryMissing, processor_features
from completionist.engine.llama.quota import free_memory_bytes, processors
from completionist.engine.llama.show import LibraryBroken, show
from completionist.models.installed import installed
from completionist.settings import Settings

app = typer.Typer()

Verdict = Literal["fine", "note", "wrong"]
_MARKS: dict[Verdict, str] = {"fine": "ok   ", "note": "note ", "wrong": "WRONG"}
_SPEED_FEATURES = (
    "avx2",
    "fma",
    "f16c",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "amx_int8",
    "asimddp",
    "i8mm",
    "sve",
)
_LOW_MEMORY_BYTES = 10**9
_LOW_DISK_BYTES = 10**9


class Finding(msgspec.Struct, frozen=True):
    """One line of the report; `wrong` means that `serve` cannot work."""

    topic: str
    verdict: Verdict
    detail: str


@app.command()
def doctor(as_json: Json = False, config: Config = None) -> None:
    """Examine this machine. Exit code 1 if something that serving needs is missing."""
    findings = list(examine(read_settings({}, config), config_file(config)))
    if as_json:
        typer.echo(json_text(findings))
    else:
        _print(findings)
    if any(finding.verdict == "wrong" for finding in findings):
        raise typer.Exit(1)


def examine(settings: Settings, settings_file: Path | None) -> Iterator[Finding]:
    """Everything looked at, in the order of the report."""
    yield Finding("python", "fine", f"{platform.python_version()} at {sys.executable}")
    yield Finding("settings", "fine", str(settings_file or "no file; environment and defaults"))
    yield from _library(settings)
    yield _memory()
    yield from _disk(cache_directory(settings.models.cache_dir))
    yield _models(settings)


def _print(findings: Iterable[Finding]) -> None:
    for finding in findings:
        typer.echo(f"{_MARKS[finding.verdict]} {finding.topic:10} {finding.detail}")


def _library(settings: Settings) -> Iterator[Finding]:
    features = set(processor_features())
    fast = [name for name in _SPEED_FEATURES if name in features]
    yield Finding(
        "processor", "fine", f"{platform.machine()}, {processors()} usable, {' '.join(fast) or 'no known extension'}"
    )
    try:
        report = show(settings.engine, settings.models)
    except (LibraryMissing, LibraryBroken) as error:
        yield Finding("library", "wrong", str(error))
        return
    yield Finding("library", "fine", f"{report.library.description}: {report.library.path}")
    yield Finding("native", "fine", report.advice)


def _memory() -> Finding:
    free = free_memory_bytes()
    verdict: Verdict = "note" if free < _LOW_MEMORY_BYTES else "fine"
    return Finding("memory", verdict, f"{megabytes(free)} free; the default model needs about 500 MB with its cells")


def _disk(cache: Path) -> Iterator[Finding]:
    existing = next(path for path in (cache, *cache.absolute().parents) if path.exists())
    if os.access(existing, os.W_OK):
        yield Finding("cache", "fine", str(cache))
    else:
        yield Finding("cache", "wrong", f"{cache} cannot be written: correct its permissions, or set models.cache_dir")
    free = shutil.disk_usage(existing).free
    yield Finding("disk", "note" if free < _LOW_DISK_BYTES else "fine", f"{megabytes(free)} free in {existing}")


def _models(settings: Settings) -> Finding:
    names = [model.name for model in installed(settings.models)]
    if names:
        return Finding("models", "fine", ", ".join(names))
    return Finding("models", "note", f"none here yet: serve fetches {settings.model}")
