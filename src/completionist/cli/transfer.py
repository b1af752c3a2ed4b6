"""`completionist export` and `completionist import`: stored completions as JSON lines."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from completionist.cli.db import opened
from completionist.cli.options import Config
from completionist.errors import CompletionNotFound, OperatorError
from completionist.store.base import Filters
from completionist.store.sql.migrate import migrate
from completionist.store.sql.transfer import Line, Shape, dump, load
from completionist.types.caller import DEFAULT_PROJECT

app = typer.Typer()

_MARKED = 1000
"""Completions between two marks of how far an export has come."""

Project = Annotated[str, typer.Option(help="Of which project.")]


@app.command("export")
def export_completions(
    file: Annotated[Path, typer.Argument(help="Where to; - for standard output. An interrupted export goes on.")],
    *,
    shape: Annotated[Shape, typer.Option(help="raw, fine-tuning or evaluation.")] = "raw",
    project: Project = DEFAULT_PROJECT,
    model: Annotated[str | None, typer.Option(help="Only answers of this model.")] = None,
    metadata: Annotated[list[str] | None, typer.Option(help="Only with this pair: key=value. Repeatable.")] = None,
    config: Config = None,
) -> None:
    """Write stored completions as JSON lines, oldest first, one completion after the other."""
    pairs = tuple(_pair(pair) for pair in metadata or ())
    filters = Filters(model=model, metadata=pairs)
    n_lines = 0
    with opened(config) as database, _output(file) as output:
        migrate(database)
        try:
            for line in dump(database, project, shape, filters, output.after):
                output.write(line)
                n_lines += 1
        except CompletionNotFound:
            raise OperatorError(
                f"{output.after}, the last one in {file}, is no longer known: export into a new file"
            ) from None
    typer.echo(f"{n_lines} completions", err=True)


@app.command("import")
def import_completions(
    file: Annotated[Path, typer.Argument(help="A file in the raw shape of an export; - for standard input.")],
    *,
    project: Project = DEFAULT_PROJECT,
    config: Config = None,
) -> None:
    """Store exported completions under their old ids; those that are there already are left, so it can be repeated."""
    added = left = 0
    with opened(config) as database, _input(file) as lines:
        migrate(database)
        for added, left in load(database, project, lines):
            typer.echo(f"{added} added, {left} were there", err=True)
    typer.echo(f"{added} added, {left} were there")


class _Output:
    """A file with a note beside it of how far it has come: the last id, and the size up to its line."""

    def __init__(self, file: Path) -> None:
        self._note = file.with_name(file.name + ".position")
        self.after: str | None = None
        size_bytes = 0
        if self._note.exists() and file.exists():
            self.after, size_bytes = json.loads(self._note.read_text(encoding="utf-8"))
        elif file.exists():
            raise OperatorError(f"{file} is there already: name another file")
        self._file = file.open("ab")
        self._file.truncate(size_bytes)
        self._n_lines = 0

    def write(self, line: Line) -> None:
        self._file.write(line.text)
        self.after = line.id
        self._n_lines += 1
        if self._n_lines % _MARKED == 0:
            self._mark()

    def _mark(self) -> None:
        self._file.flush()
        fresh = self._note.with_name(self._note.name + ".new")
        fresh.write_text(json.dumps([self.after, self._file.tell()]), encoding="utf-8")
        fresh.replace(self._note)

    def finish(self) -> None:
        self._file.close()
        self._note.unlink(missing_ok=True)

    def interrupt(self) -> None:
        if self.after is not None:
            self._mark()
        self._file.close()


class _Pipe:
    """Standard output: what is lost is lost."""

    after = None

    def write(self, line: Line) -> None:
        sys.stdout.buffer.write(line.text)


@contextmanager
def _output(file: Path) -> Iterator[_Output | _Pipe]:
    if str(file) == "-":
        yield _Pipe()
        return
    output = _Output(file)
    try:
        yield output
    except BaseException:
        output.interrupt()
        raise
    output.finish()


@contextmanager
def _input(file: Path) -> Iterator[BinaryIO]:
    if str(file) == "-":
        yield sys.stdin.buffer
        return
    try:
        lines = file.open("rb")
    except OSError as error:
        raise OperatorError(f"cannot read {file}: {error.strerror}") from None
    with lines:
        yield lines


def _pair(text: str) -> tuple[str, str]:
    key, is_pair, value = text.partition("=")
    if not is_pair:
        raise OperatorError(f"--metadata wants key=value, not {text}")
    return key, value
