"""`completionist db`: the database of stored completions, for the person who looks after it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from completionist.cli.configure import read_settings
from completionist.cli.options import Config, Json
from completionist.cli.terminal import json_text, megabytes
from completionist.errors import FileStorageFull, OperatorError, StorageUnavailable
from completionist.store.directory import FileDirectory
from completionist.store.sql import contents, copying, inspection, removal
from completionist.store.sql.database import Database
from completionist.store.sql.migrate import migrate as bring_up
from completionist.store.sql.place import database_url, files_directory
from completionist.store.sql.tables import REVISION

group = typer.Typer(name="db", help="The database of stored completions.", no_args_is_help=True)
app = typer.Typer()
app.add_typer(group)


class CannotReach(OperatorError):
    """The database, or the directory of files, does not answer or refuses."""


@contextmanager
def opened(config: Path | None, url: str | None = None, *, migrates: bool = False) -> Iterator[Database]:
    """The database of the settings, or another one; what goes wrong with it ends the command with one line.

    `migrates`: its schema is brought up to date first.
    """
    database = Database(url or database_url(read_settings({}, config).store.url), is_patient=True)
    try:
        if migrates:
            bring_up(database)
        yield database
    except (StorageUnavailable, FileStorageFull) as error:
        reason = str(getattr(error.__cause__, "orig", None) or error.__cause__).partition("\n")[0]
        shown = database.url.render_as_string(hide_password=True)
        raise CannotReach(f"cannot use the database {shown}, or its files: {reason}") from None
    finally:
        database.close()


def _directory(config: Path | None) -> FileDirectory:
    """Of files, as the settings have it."""
    settings = read_settings({}, config)
    return FileDirectory(files_directory(settings.files.directory, settings.store.url))


@group.command()
def migrate(as_json: Json = False, config: Config = None) -> None:
    """Bring the schema up to date, as every start of the server does."""
    with opened(config) as database:
        found = bring_up(database)
    if as_json:
        typer.echo(json_text({"schema": REVISION, "was": found}))
    else:
        typer.echo(f"schema {REVISION}" + ("" if found == REVISION else f" (it was {found or 'empty'})"))


@group.command()
def backup(
    file: Annotated[Path, typer.Argument(help="Where to; it must not be there yet.")],
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Copy a SQLite database and the contents of files, whole and consistent, while the server runs."""
    beside = files_directory(None, f"sqlite:///{file}")
    if beside.exists():
        raise OperatorError(f"{beside} is there already: name another file")
    with opened(config) as database:
        size_bytes = copying.back_up(database, file)
    there = FileDirectory(beside)
    with opened(config, f"sqlite:///{file}") as copy_:
        n_contents = contents.back_up(copy_, _directory(config), there)
        _refuse_faults(_faults(copy_, there, with_digests=True))
    if as_json:
        typer.echo(json_text({"file": file, "size_bytes": size_bytes, "contents": beside, "n_contents": n_contents}))
        return
    typer.echo(f"{file}: {megabytes(size_bytes)}, and {n_contents} contents of files in {beside}, checked")


@group.command()
def check(
    *,
    digests: Annotated[bool, typer.Option("--digests", help="Read the contents of all files too.")] = False,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Look for damage: in the database, and in what belongs together, contents of files too."""
    with opened(config) as database:
        faults = _faults(database, _directory(config), with_digests=digests)
        if as_json:
            found = list(faults)
            typer.echo(json_text({"is_sound": not found, "faults": found}))
            raise typer.Exit(code=bool(found))
        _refuse_faults(faults)
    typer.echo("sound")


@group.command()
def copy(
    target: Annotated[str, typer.Argument(help="URL of the database to copy to: empty, or with a part of this copy.")],
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Copy everything to another database, and compare. Stop the server first; run it again to go on."""
    with opened(config) as source, opened(config, target) as there:
        if source.url == there.url:
            raise OperatorError("source and target are the same database")
        copied = copying.copy(source, there, lambda table, n: typer.echo(f"{table}: {n}", err=True))
    if as_json:
        typer.echo(json_text(copied))
        return
    for table, n_rows in copied.items():
        typer.echo(f"{table}: {n_rows} rows, the same on both sides")


@group.command("delete-project")
def delete_project(
    project: Annotated[str, typer.Argument(help="The project whose data goes.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Delete everything that is stored for one project, and show that nothing is left."""
    if not yes:
        typer.confirm(f"Delete everything of project {project}? It cannot be brought back", abort=True, err=True)
    with opened(config) as database:
        proof = removal.remove_project(database, _directory(config), project)
    if as_json:
        typer.echo(
            json_text({"project": project, "before": proof.before, "after": proof.after, "traces": proof.n_traces})
        )
    else:
        for table, n_rows in proof.before.items():
            typer.echo(f"{table}: {n_rows} before, {proof.after[table]} now")
        if proof.n_traces is not None:
            typer.echo(f"ids of deleted completions still in the files of the database: {proof.n_traces}")
    if not proof.holds:
        raise OperatorError("something is left: is the server still storing for this project? Run the command again")


def _faults(database: Database, directory: FileDirectory, *, with_digests: bool) -> Iterator[str]:
    yield from inspection.faults(database)
    yield from contents.faults(database, directory, with_digests=with_digests)


def _refuse_faults(faults: Iterable[str]) -> None:
    n_faults = 0
    for fault in faults:
        typer.echo(fault, err=True)
        n_faults += 1
    if n_faults:
        raise OperatorError(f"{n_faults} {'fault' if n_faults == 1 else 'faults'} in the database")
