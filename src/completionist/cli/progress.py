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
    ProgressColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bar
from rich.table import Column

_STEP_PERCENT = 10
_BESIDE_TITLE = 33
"""Characters of a line for the bar and the numbers."""

Draw = Callable[[str, int, int], None]
"""A title, how much is done, and of how much."""


@contextmanager
def byte_progress(stream: TextIO | None = None) -> Iterator[Draw]:
    """Draw a transfer: a bar on a terminal, a line for each tenth elsewhere, both with rate and time left."""
    columns = (
        TaskProgressColumn(table_column=_on_one_line()),
        TransferSpeedColumn(table_column=_on_one_line()),
        TimeRemainingColumn(table_column=_on_one_line()),
    )
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
    with Bar(
        TextColumn("{task.description}"), BarColumn(bar_width=None), *columns, console=Console(file=stream)
    ) as bar:
        task = bar.add_task("starting", total=None)

        def draw(title: str, done: int, total: int) -> None:
            room = bar.console.width - _BESIDE_TITLE
            shown = title if len(title) <= room else f"…{title[1 - room :]}"
            bar.update(task, description=shown, completed=done, total=total)

        yield draw


def _on_one_line() -> Column:
    return Column(no_wrap=True)


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
