"""`completionist block`, `unblock` and `blocked`: end users whom nobody answers."""

from __future__ import annotations

from typing import Annotated

import typer

from completionist.cli.db import opened
from completionist.cli.options import Config, Json
from completionist.cli.terminal import json_text, table
from completionist.store.access import EVERY_PROJECT
from completionist.store.sql import access

app = typer.Typer()

EndUser = Annotated[str, typer.Argument(help="As requests name it: `safety_identifier`, else `user`.")]
Project = Annotated[str, typer.Option(help="Only in this project; by default in every one.")]


@app.command()
def block(end_user: EndUser, project: Project = EVERY_PROJECT, as_json: Json = False, config: Config = None) -> None:
    """Refuse the requests of an end user with 403, within seconds."""
    found = access.Blocked(end_user, project)
    with opened(config, migrates=True) as database, database.writing() as connection:
        access.block(connection, found)
    typer.echo(json_text(found) if as_json else "blocked")


@app.command()
def unblock(end_user: EndUser, project: Project = EVERY_PROJECT, as_json: Json = False, config: Config = None) -> None:
    """Answer an end user again."""
    found = access.Blocked(end_user, project)
    with opened(config, migrates=True) as database, database.writing() as connection:
        access.unblock(connection, found)
    typer.echo(json_text(found) if as_json else "no longer blocked")


@app.command()
def blocked(as_json: Json = False, config: Config = None) -> None:
    """List the end users who are blocked."""
    with opened(config, migrates=True) as database, database.reading() as connection:
        found = access.list_blocked(connection)
    if as_json:
        typer.echo(json_text(found))
        return
    typer.echo(table(("end user", "project"), [(one.end_user, one.project or "every one") for one in found]))
