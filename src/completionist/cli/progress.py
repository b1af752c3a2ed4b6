"""Progress, which commands show beside their result: on standard error, so that standard output stays clean for pipes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    ProgressColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bar

_STEP_PERCENT = 10

Draw = Callable[[str, int, int], None]
"""A title, how much is done, and of how much."""


@contextmanager
def byte_progress(stream: TextIO | None = None) -> Iterator[Draw]:
    """Draw a transfer: a bar on a terminal, a line for each tenth elsewhere."""
    with _drawn(stream or sys.stderr, DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()) as draw:
        yield draw


@contextmanager
def percent_progress(stream: TextIO | None = None) -> Iterator[Draw]:
    """Draw work that is counted in hundredths, likewise."""
    with _drawn(stream or sys.stderr, TaskProgressColumn(), TimeElapsedColumn()) as draw:
        yield draw


@contextmanager
def _drawn(stream: TextIO, *columns: ProgressColumn) -> Iterator[Draw]:
    if not stream.isatty():
        yield _Lines(stream).draw
        return
    with Bar(TextColumn("{task.description}"), BarColumn(), *columns, console=Console(file=stream)) as bar:
        task = bar.add_task("starting", total=None)

        def draw(title: str, done: int, total: int) -> None:
            bar.update(task, description=title, completed=done, total=total)

        yield draw


class _Lines:
    """Progress for logs and pipes: a line when the title changes and at each tenth."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shown: tuple[str, int] | None = None

    def draw(self, title: str, done: int, total: int) -> None:
        percent = 100 * done // max(1, total)
        step = (title, percent // _STEP_PERCENT)
        if step != self._shown:
            self._shown = step
            print(f"{title}: {percent} %", file=self._stream, flush=True)
