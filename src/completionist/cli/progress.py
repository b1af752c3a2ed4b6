"""Progress, which commands show beside their result: on standard error, so that standard output stays clean for pipes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
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
    """Draw a transfer: a bar on a terminal, a line for each tenth elsewhere, both with rate and time left."""
    columns = (DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with _drawn(stream or sys.stderr, columns, has_rate=True) as draw:
        yield draw


@contextmanager
def percent_progress(stream: TextIO | None = None) -> Iterator[Draw]:
    """Draw work that is counted in hundredths, likewise."""
    with _drawn(stream or sys.stderr, (TaskProgressColumn(), TimeElapsedColumn()), has_rate=False) as draw:
        yield draw


@contextmanager
def _drawn(stream: TextIO, columns: Sequence[ProgressColumn], *, has_rate: bool) -> Iterator[Draw]:
    if not stream.isatty():
        yield _Lines(stream, has_rate=has_rate).draw
        return
    with Bar(TextColumn("{task.description}"), BarColumn(), *columns, console=Console(file=stream)) as bar:
        task = bar.add_task("starting", total=None)

        def draw(title: str, done: int, total: int) -> None:
            bar.update(task, description=title, completed=done, total=total)

        yield draw


class _Lines:
    """Progress for logs and pipes: a line when the title changes and at each tenth."""

    def __init__(self, stream: TextIO, *, has_rate: bool) -> None:
        self._stream = stream
        self._has_rate = has_rate
        self._shown: tuple[str, int] | None = None
        self._began = (0.0, 0)
        """When this title came, and what was done then."""

    def draw(self, title: str, done: int, total: int) -> None:
        percent = 100 * done // max(1, total)
        step = (title, percent // _STEP_PERCENT)
        if self._shown is None or self._shown[0] != title:
            self._began = (time.monotonic(), done)
        if step != self._shown:
            self._shown = step
            print(f"{title}: {percent} %{self._rate(done, total)}", file=self._stream, flush=True)

    def _rate(self, done: int, total: int) -> str:
        elapsed_s, n_bytes = time.monotonic() - self._began[0], done - self._began[1]
        if not self._has_rate or elapsed_s <= 0 or n_bytes <= 0:
            return ""
        per_s = n_bytes / elapsed_s
        return f", {per_s / 1e6:,.1f} MB/s, {(total - done) / per_s:,.0f} s left"
