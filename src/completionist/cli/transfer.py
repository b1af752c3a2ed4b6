"""`completionist export` and `completionist import`: stored completions as JSON lines."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from completionist.cli.db import opened
from completionist.cli.options import Config, Json
from completionist.cli.terminal import json_text
from completionist.errors import CompletionNotFound, OperatorError
from completionist.store.base import Filters
from completionist.store.sql.migrate import migrate
from completionist.store.sql.shapes import Shape
from completionist.store.sql.transfer import Line, dump, load
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
    what: dict[str, object] = {"shape": shape, "project": project, "model": model, "metadata": sorted(metadata or ())}
    with opened(config) as database, _output(file, what) as output:
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
    file: Annotated[Path, typer.Argument(help="Lines in any shape of an export; - for standard input.")],
    *,
    project: Project = DEFAULT_PROJECT,
    model: Annotated[str | None, typer.Option(help="Whose answers they are, where the lines do not say.")] = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Store exported completions, under their old ids where they have any; what is there already is left."""
    added = left = 0
    with opened(config) as database, _input(file) as lines:
        migrate(database)
        for added, left in load(database, project, lines, model):
            typer.echo(f"{added} added, {left} were there", err=True)
    typer.echo(json_text({"added": added, "were_there": left}) if as_json else f"{added} added, {left} were there")


class _Output:
    """A file with a note beside it of how far it has come: the last id, and the size up to its line."""

    def __init__(self, file: Path, what: dict[str, object]) -> None:
        self._note = file.with_name(file.name + ".position")
        self._what = what
        self.after: str | None = None
        size_bytes = 0
        if file.exists():
            size_bytes = self._read_note(file)
        else:
            self._write_note(0)  # it goes on from here wherever it stops
        self._file = open(file, "ab", opener=_private)  # noqa: SIM115 (a path's own `open` takes no opener)
        self._file.truncate(size_bytes)
        self._n_lines = 0

    def _read_note(self, file: Path) -> int:
        """How much of the file is whole."""
        if not self._note.exists():
            raise OperatorError(f"{file} is there already: name another file")
        noted = json.loads(self._note.read_text(encoding="utf-8"))
        if noted["of"] != self._what:
            raise OperatorError(f"{file} is part of another export: repeat its options, or name another file")
        if file.stat().st_size < noted["bytes"]:
            raise OperatorError(f"{file} has become shorter: remove it and its .position, and begin again")
        self.after = noted["after"]
        return int(noted["bytes"])

    def write(self, line: Line) -> None:
        self._file.write(line.text)
        self.after = line.id
        self._n_lines += 1
        if self._n_lines % _MARKED == 0:
            self._mark()

    def _mark(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._write_note(self._file.tell())

    def _write_note(self, n_bytes: int) -> None:
        fresh = self._note.with_name(self._note.name + ".new")
        fresh.write_text(json.dumps({"of": self._what, "after": self.after, "bytes": n_bytes}), encoding="utf-8")
        fresh.replace(self._note)

    def finish(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._note.unlink(missing_ok=True)

    def interrupt(self) -> None:
        self._mark()
        self._file.close()


class _Pipe:
    """Standard output: what is lost is lost."""

    after = None

    def write(self, line: Line) -> None:
        sys.stdout.buffer.write(line.text)


def _private(path: str, flags: int) -> int:
    """Conversations are nobody else's."""
    return os.open(path, flags, 0o600)


@contextmanager
def _output(file: Path, what: dict[str, object]) -> Iterator[_Output | _Pipe]:
    if str(file) == "-":
        yield _Pipe()
        return
    try:
        output = _Output(file, what)
        try:
            yield output
            output.finish()
        except BaseException:
            with suppress(OSError):  # the last note holds
                output.interrupt()
            raise
    except OSError as error:
        raise OperatorError(f"cannot write {file}: {error.strerror}") from None


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
