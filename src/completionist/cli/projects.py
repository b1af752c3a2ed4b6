"""`completionist projects`: whose requests keys make, and what they may take together."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec
import typer

from completionist import ids
from completionist.cli.db import opened
from completionist.cli.options import (
    ConcurrentRequests,
    Config,
    Json,
    RequestsPerMinute,
    TokensPerMinute,
    TokensPerMonth,
    shown_limits,
)
from completionist.cli.terminal import json_text, moment, table
from completionist.errors import OperatorError
from completionist.settings import PROJECT_NAME
from completionist.store.sql import access
from completionist.types.caller import DEFAULT_ORGANIZATION
from completionist.types.limits import NO_LIMITS, Limits

group = typer.Typer(
    name="projects", help="Projects: what belongs together, and what it may take.", no_args_is_help=True
)
app = typer.Typer()
app.add_typer(group)


@group.command()
def create(
    name: Annotated[str, typer.Argument(help="1 to 64 letters, digits, _ and -.")],
    *,
    organization: Annotated[str, typer.Option(help="The organisation that answers name.")] = DEFAULT_ORGANIZATION,
    requests_per_minute: RequestsPerMinute = None,
    tokens_per_minute: TokensPerMinute = None,
    concurrent_requests: ConcurrentRequests = None,
    tokens_per_month: TokensPerMonth = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Make a project, or say anew what an existing one may take: what is not given goes back to the settings' limits."""
    _check_names(name, organization)
    limits = Limits(
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        concurrent_requests=concurrent_requests,
        tokens_per_month=tokens_per_month,
    )
    project = access.Project(name=name, organization=organization, limits=limits, created=ids.now_s())
    with opened(config, migrates=True) as database, database.writing() as connection:
        access.put_project(connection, project)
        made = access.get_project(connection, name)
    typer.echo(json_text(made) if as_json else f"{name}: {shown_limits(limits)}")


@group.command()
def update(
    name: Annotated[str, typer.Argument(help="As `completionist projects list` shows it.")],
    *,
    organization: Annotated[str | None, typer.Option(help="The organisation that answers name.")] = None,
    requests_per_minute: RequestsPerMinute = None,
    tokens_per_minute: TokensPerMinute = None,
    concurrent_requests: ConcurrentRequests = None,
    tokens_per_month: TokensPerMonth = None,
    no_limits: Annotated[
        bool, typer.Option("--no-limits", help="Take the limits that it has away, before those that are given.")
    ] = False,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Change what is said of a project; what is not given stays."""
    given = {
        "requests_per_minute": requests_per_minute,
        "tokens_per_minute": tokens_per_minute,
        "concurrent_requests": concurrent_requests,
        "tokens_per_month": tokens_per_month,
    }
    with opened(config, migrates=True) as database, database.writing() as connection:
        before = access.get_project(connection, name)
        kept = NO_LIMITS if no_limits else before.limits
        changed = {limit: value for limit, value in given.items() if value is not None}
        project = msgspec.structs.replace(
            before,
            organization=organization or before.organization,
            limits=msgspec.structs.replace(kept, **changed),
        )
        _check_names(project.organization)
        access.put_project(connection, project)
    typer.echo(json_text(project) if as_json else f"{name}: {shown_limits(project.limits)}")


@group.command("list")
def list_projects(as_json: Json = False, config: Config = None) -> None:
    """List the projects of the database with their limits and good keys."""
    with opened(config, migrates=True) as database, database.reading() as connection:
        projects, keys = access.list_projects(connection), access.list_keys(connection)
    if as_json:
        typer.echo(json_text(projects))
        return
    rows = [
        (
            project.name,
            project.organization,
            str(sum(key.project == project.name and key.is_usable for key in keys)),
            moment(project.created),
            shown_limits(project.limits),
        )
        for project in projects
    ]
    typer.echo(table(("project", "organization", "keys", "created", "limits"), rows))


def _check_names(*names: str) -> None:
    for name in names:
        if re.fullmatch(PROJECT_NAME, name) is None:
            raise OperatorError(f"'{name}' cannot be a name: 1 to 64 letters, digits, _ and -")
