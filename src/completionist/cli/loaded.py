"""`completionist ps` and `completionist stop`: the models in the memory of the running server."""

from __future__ import annotations

import time
from typing import Annotated
from urllib.parse import quote

import msgspec
import typer

from completionist.cli.configure import read_settings
from completionist.cli.options import Config, Json, known_names
from completionist.cli.server import ApiKey, RunningServer, Url
from completionist.cli.terminal import json_text, megabytes

app = typer.Typer()


class Streams(msgspec.Struct, frozen=True):
    """Streams of one length."""

    n_streams: int
    tokens: int


class LoadedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `ps`, as the server tells it."""

    name: str
    aliases: list[str]
    pid: int | None
    state: str
    memory_bytes: int | None
    weights_bytes: int | None
    kv_bytes: int | None
    streams: list[Streams]
    requests: int
    running: int
    waiting: int
    loaded_at: int | None
    unload_at: int | None
    is_kept: bool


class LoadedModels(msgspec.Struct, frozen=True):
    """All rows."""

    data: list[LoadedModel]


class StoppedModel(msgspec.Struct, frozen=True, kw_only=True):
    """What `stop --json` prints."""

    name: str
    was_loaded: bool


@app.command()
def ps(*, as_json: Json = False, url: Url = None, api_key: ApiKey = None, config: Config = None) -> None:
    """Show the models that the running server has in memory."""
    models = _server(url, api_key, config).ask("GET", "/admin/models", LoadedModels).data
    if as_json:
        typer.echo(json_text(models))
        return
    if not models:
        typer.echo("no model is loaded")
    width = max((len(one.name) for one in models), default=0)
    for one in models:
        typer.echo(f"{one.name:{width}}  {', '.join(_facts(one, time.time()))}")


@app.command()
def stop(
    model: Annotated[str, typer.Argument(help="Its name, or an alias of it.", autocompletion=known_names)],
    *,
    as_json: Json = False,
    url: Url = None,
    api_key: ApiKey = None,
    config: Config = None,
) -> None:
    """Unload a model of the running server, once its answers are complete; the next request loads it again."""
    stopped = _server(url, api_key, config).ask("DELETE", f"/admin/models/{quote(model, safe='/')}", StoppedModel)
    if as_json:
        typer.echo(json_text(stopped))
    else:
        typer.echo(f"{stopped.name} is unloaded" if stopped.was_loaded else f"{stopped.name} was not loaded")


def _server(url: str | None, api_key: str | None, config: Config) -> RunningServer:
    return RunningServer(read_settings({}, config).server, url, api_key)


def _facts(one: LoadedModel, now_s: float) -> list[str]:
    facts = [one.state]
    if one.memory_bytes is not None:
        facts.append(f"{megabytes(one.memory_bytes)} of memory")
    if one.streams:
        facts.append(" and ".join(f"{some.n_streams} streams of {some.tokens:,} tokens" for some in one.streams))
    facts.append(f"{one.requests} requests")
    if one.loaded_at is not None:
        facts.append(f"for {_span(now_s - one.loaded_at)}")
    if one.is_kept:
        facts.append("stays")
    elif one.unload_at is not None:
        facts.append(f"{_span(one.unload_at - now_s)} left")
    if one.aliases:
        facts.append(f"also {' and '.join(one.aliases)}")
    return facts


def _span(seconds: float) -> str:
    """Seconds, minutes or hours, whichever reads best."""
    for unit, n_seconds in (("h", 3600), ("min", 60)):
        if seconds >= 2 * n_seconds:
            return f"{seconds / n_seconds:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
