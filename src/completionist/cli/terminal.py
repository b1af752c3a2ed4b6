"""What commands show beside their result: on standard error, so that standard output stays clean for pipes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import msgspec
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as Bar

from completionist.models.pull import OnProgress, Progress

_STEP_PERCENT = 10


def megabytes(n_bytes: int) -> str:
    """Decimal megabytes, as disks and downloads are sold."""
    return f"{n_bytes / 1e6:,.1f} MB"


def json_text(value: object) -> str:
    """Indented JSON of structs, lists and paths."""
    return msgspec.json.format(msgspec.json.encode(value, enc_hook=str)).decode()


@contextmanager
def pull_progress(name: str, stream: TextIO | None = None) -> Iterator[OnProgress]:
    """Draw a pull of `name`: a bar on a terminal, a line for each tenth elsewhere."""
    stream = stream or sys.stderr
    if not stream.isatty():
        yield _Lines(name, stream).show
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(file=stream)) as bar:
        task = bar.add_task(f"{name}: starting", total=None)

        def show(progress: Progress) -> None:
            bar.update(
                task, description=_title(name, progress), completed=progress.done_bytes, total=progress.total_bytes
            )

        yield show


def _title(name: str, progress: Progress) -> str:
    if progress.stage == "waiting":
        return f"{name}: another process is fetching it, waiting"
    if progress.stage == "fetching" and progress.n_parts > 1:
        return f"{name}: fetching part {progress.part} of {progress.n_parts}"
    return f"{name}: {progress.stage}"


class _Lines:
    """Progress for logs and pipes: a line when the stage changes and at each tenth of it."""

    def __init__(self, name: str, stream: TextIO) -> None:
        self._name = name
        self._stream = stream
        self._shown: tuple[str, int] | None = None

    def show(self, progress: Progress) -> None:
        percent = 100 * progress.done_bytes // max(1, progress.total_bytes)
        step = (progress.stage, percent // _STEP_PERCENT)
        if step != self._shown:
            self._shown = step
            print(
                f"{_title(self._name, progress)} {percent} % of {megabytes(progress.total_bytes)}",
                file=self._stream, flush=True,
            )  # fmt: skip
