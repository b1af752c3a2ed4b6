"""`completionist pull` and `completionist list`: the models on this machine, and those that can come here by name."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from completionist.cli.configure import read_settings
from completionist.cli.options import Config, Json
from completionist.cli.terminal import json_text, megabytes
from completionist.models.catalog import CatalogEntry, catalog
from completionist.models.installed import ModelFile, installed, resolve
from completionist.settings import ModelSettings

if TYPE_CHECKING:
    from completionist.models.pull import Progress

app = typer.Typer()


class ListedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `list --json`."""

    name: str
    is_installed: bool
    description: str
    publisher: str
    licence: str
    context_tokens: int
    """What it was trained for."""
    size_bytes: int
    download_bytes: int
    path: Path | None
    """Where it is, once it is here."""


@app.command()
def pull(
    name: Annotated[str, typer.Argument(help="A name that `completionist list` shows.")], config: Config = None
) -> None:
    """Fetch a model of the catalogue, or go on where an earlier pull stopped."""
    model = fetch(name, read_settings({}, config).models)
    typer.echo(f"{model.name}: {model.path}")


@app.command("list")
def list_models(as_json: Json = False, config: Config = None) -> None:
    """List the models of the catalogue and which of them are here."""
    rows = listed(read_settings({}, config).models)
    if as_json:
        typer.echo(json_text(rows))
        return
    width = max(len(row.name) for row in rows)
    for row in rows:
        state = str(row.path) if row.path else f"not here; pull fetches {megabytes(row.download_bytes)}"
        typer.echo(f"{row.name:{width}}  {row.description}  ({state})")


def fetch(name_or_path: str, settings: ModelSettings) -> ModelFile:
    """The model file behind a catalogue name, pulled with visible progress where it is missing, or behind a path."""
    entry = catalog().get(name_or_path)
    here = {model.name for model in installed(settings)}
    if entry is None or entry.name in here:
        return resolve(name_or_path, settings)
    # The HTTP client and the progress bar take long to import: only where something is fetched.
    from completionist.cli.progress import byte_progress  # noqa: PLC0415 - as above
    from completionist.models import pull as pulling  # noqa: PLC0415 - as above

    started_s = time.monotonic()
    with byte_progress() as draw:
        model = pulling.pull(entry, settings, lambda at: draw(_title(entry, at), at.done_bytes, at.total_bytes))
    typer.echo(f"{entry.name}: fetched and verified in {time.monotonic() - started_s:.1f} s", err=True)
    return model


def _title(entry: CatalogEntry, at: Progress) -> str:
    size = megabytes(at.total_bytes)
    if at.stage == "waiting":
        return f"{entry.name}: another process is fetching it, waiting"
    if at.stage == "fetching" and at.n_parts > 1:
        return f"{entry.name}: fetching {size}, part {at.part} of {at.n_parts}"
    return f"{entry.name}: {at.stage} {size}"


def listed(settings: ModelSettings) -> list[ListedModel]:
    """Every model of the catalogue, in its order."""
    paths = {model.name: model.path for model in installed(settings)}
    return [_row(entry, paths.get(entry.name)) for entry in catalog().values()]


def _row(entry: CatalogEntry, path: Path | None) -> ListedModel:
    return ListedModel(
        name=entry.name,
        is_installed=path is not None,
        description=entry.description,
        publisher=entry.publisher,
        licence=entry.licence,
        context_tokens=entry.context_tokens,
        size_bytes=entry.size_bytes,
        download_bytes=entry.download_bytes,
        path=path,
    )
