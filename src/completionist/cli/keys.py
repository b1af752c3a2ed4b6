"""`completionist keys`: who may ask. A running server knows of a change within seconds."""

from __future__ import annotations

import hashlib
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
from completionist.cli.times import future_s, span_s
from completionist.errors import OperatorError
from completionist.settings import PROJECT_NAME
from completionist.store.sql import access
from completionist.types.caller import DEFAULT_PROJECT, ServiceTier
from completionist.types.limits import Limits
from completionist.types.scopes import DEFAULT_SCOPES, SCOPES, Scope

group = typer.Typer(name="keys", help="API keys: who may ask, and for what.", no_args_is_help=True)
app = typer.Typer()
app.add_typer(group)

_SCOPES_HELP = "Comma-separated; " + ", ".join(SCOPES) + "; all. By default all but metrics.read and admin."

KeyId = Annotated[str, typer.Argument(help="The id of the key, as `completionist keys list` shows it.")]


class MadeKey(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown once."""

    key: str
    id: str
    project: str


@group.command()
def create(
    *,
    project: Annotated[
        str, typer.Option(help="Whose requests it makes. Made where it is not there.")
    ] = DEFAULT_PROJECT,
    name: Annotated[str, typer.Option(help="To tell it from others.")] = "",
    scopes: Annotated[str, typer.Option(help=_SCOPES_HELP)] = "",
    expires: Annotated[str | None, typer.Option(help="30d, 12h, or a date: 2027-01-31.")] = None,
    service_tier: Annotated[ServiceTier, typer.Option(help="Serves what names no tier.")] = "default",
    requests_per_minute: RequestsPerMinute = None,
    tokens_per_minute: TokensPerMinute = None,
    concurrent_requests: ConcurrentRequests = None,
    tokens_per_month: TokensPerMonth = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Make a key and print it. It is shown this once: only its digest is kept."""
    _check_project(project)
    key = ids.api_key()
    made = access.APIKey(
        id=ids.api_key_id(),
        name=name,
        project=project,
        scopes=_scopes(scopes),
        service_tier=service_tier,
        limits=Limits(
            requests_per_minute=requests_per_minute,
            tokens_per_minute=tokens_per_minute,
            concurrent_requests=concurrent_requests,
            tokens_per_month=tokens_per_month,
        ),
        created=ids.now_s(),
        expires=future_s(expires) if expires else None,
        revoked=None,
    )
    with opened(config, migrates=True) as database, database.writing() as connection:
        access.add_key(connection, made, _digest(key))
    _show(key, made, as_json=as_json)


@group.command("list")
def list_keys(
    project: Annotated[str | None, typer.Option(help="Only those of one project.")] = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """List the keys of the database, revoked ones too; those of the settings file are in it."""
    with opened(config, migrates=True) as database, database.reading() as connection:
        keys = access.list_keys(connection, project)
    if as_json:
        typer.echo(json_text(keys))
        return
    headings = ("id", "project", "name", "state", "created", "expires", "limits", "scopes")
    typer.echo(table(headings, [_row(key) for key in keys]))


@group.command()
def revoke(id_: KeyId, as_json: Json = False, config: Config = None) -> None:
    """Make a key useless, for ever."""
    with opened(config, migrates=True) as database, database.writing() as connection:
        access.revoke_key(connection, id_)
    typer.echo(json_text({"id": id_, "revoked": True}) if as_json else f"{id_} is revoked")


@group.command()
def rotate(
    id_: KeyId,
    overlap: Annotated[str, typer.Option(help="How long the old key stays good: 24h, 7d.")] = "0s",
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Put a new key in the place of one, with its project, scopes and limits, and print it once."""
    key = ids.api_key()
    with opened(config, migrates=True) as database, database.writing() as connection:
        rotated = access.rotate_key(connection, id_, _digest(key), overlap_s=span_s(overlap))
    _show(key, rotated, as_json=as_json)


@group.command()
def delete(id_: KeyId, as_json: Json = False, config: Config = None) -> None:
    """Forget a key altogether. Where none is left, a server that starts on loopback asks for none."""
    with opened(config, migrates=True) as database, database.writing() as connection:
        access.delete_key(connection, id_)
    typer.echo(json_text({"id": id_, "deleted": True}) if as_json else f"{id_} is deleted")


def _show(key: str, made: access.APIKey, *, as_json: bool) -> None:
    """The key alone on standard output, for `$(…)`."""
    if as_json:
        typer.echo(json_text(MadeKey(key=key, id=made.id, project=made.project)))
        return
    typer.echo(f"{made.id} of project {made.project}; the key is shown this once:", err=True)
    typer.echo(key)


def _row(key: access.APIKey) -> tuple[str, ...]:
    state = "good" if key.is_usable else "revoked" if key.revoked else "expired"
    scopes = "default" if frozenset(key.scopes) == DEFAULT_SCOPES else " ".join(key.scopes)
    times = (moment(key.created), moment(key.expires))
    return (key.id, key.project, key.name, state, *times, shown_limits(key.limits), scopes)


def _scopes(text: str) -> tuple[Scope, ...]:
    if not text:
        return tuple(sorted(DEFAULT_SCOPES))
    if text == "all":
        return tuple(SCOPES)
    try:
        return msgspec.convert(tuple(part.strip() for part in text.split(",")), tuple[Scope, ...])
    except msgspec.ValidationError:
        raise OperatorError(f"unknown scope in '{text}': there are {', '.join(SCOPES)}, and all") from None


def _check_project(name: str) -> None:
    if re.fullmatch(PROJECT_NAME, name) is None:
        raise OperatorError(f"'{name}' cannot be the name of a project: 1 to 64 letters, digits, _ and -")


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
