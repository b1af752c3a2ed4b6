"""`completionist hearing`: what understands speech in messages."""

from __future__ import annotations

from pathlib import Path

import msgspec
import typer

from completionist.cli.configure import read_settings
from completionist.cli.options import Config, Json
from completionist.cli.terminal import json_text, megabytes
from completionist.models.hearing import hearing_directory, hearing_models
from completionist.settings import Settings

app = typer.Typer()


class ListedListener(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `hearing list --json`."""

    name: str
    is_chosen: bool
    """By `hearing.model`."""
    description: str
    licence: str
    download_bytes: int
    directory: Path | None
    """Where it is; None where it is not here, or not chosen."""


group = typer.Typer(help="What understands speech in messages.", no_args_is_help=True)
app.add_typer(group, name="hearing")


@group.command()
def pull(as_json: Json = False, config: Config = None) -> None:
    """Fetch the model that `hearing.model` names, or go on where an earlier pull stopped."""
    from completionist.cli.progress import byte_progress  # noqa: PLC0415 - it takes long to import
    from completionist.models.pull import fetch  # noqa: PLC0415 - likewise

    settings = read_settings({}, config)
    model, directory = hearing_models()[settings.hearing.model], hearing_directory(settings)
    with byte_progress() as draw:
        fetch(
            model.asset,
            directory,
            settings.models,
            lambda at: draw(f"{model.name}: {at.stage} {megabytes(at.total_bytes)}", at.done_bytes, at.total_bytes),
            command="completionist hearing pull",
        )
    typer.echo(json_text({"name": model.name, "directory": directory}) if as_json else f"{model.name}: {directory}")


@group.command("list")
def list_models(as_json: Json = False, config: Config = None) -> None:
    """List the models that recognise speech, and whether the chosen one is here."""
    settings = read_settings({}, config)
    rows = _rows(settings)
    if as_json:
        typer.echo(json_text(rows))
        return
    for row in rows:
        mark = "*" if row.is_chosen else " "
        typer.echo(f"{mark} {row.name:16} {row.description} ({megabytes(row.download_bytes)}, {row.licence})")
    here = next((str(row.directory) for row in rows if row.directory), None)
    typer.echo(here or "not here; completionist hearing pull fetches it")


def _rows(settings: Settings) -> list[ListedListener]:
    directory = hearing_directory(settings)
    return [
        ListedListener(
            name=model.name,
            is_chosen=model.name == settings.hearing.model,
            description=model.description,
            licence=model.licence,
            download_bytes=model.asset.download_bytes,
            directory=directory if model.name == settings.hearing.model and model.asset.is_in(directory) else None,
        )
        for model in hearing_models().values()
    ]
