"""`completionist pull`, `list` and `rm`: the models on this machine, and those that can come here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from completionist.cli.configure import read_settings
from completionist.cli.options import Config, Json, Model
from completionist.cli.terminal import json_text, megabytes
from completionist.models.catalog import CatalogEntry, catalog
from completionist.models.gguf import read_beginning
from completionist.models.installed import ModelFile, installed, reference_of
from completionist.models.references import hub_reference
from completionist.models.removal import remove
from completionist.settings import ModelSettings

if TYPE_CHECKING:
    from completionist.models.hub_pull import HubPlan

app = typer.Typer()


class ListedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `list --json`."""

    name: str
    is_installed: bool
    description: str
    publisher: str
    licence: str | None
    """As the publisher or the file states it."""
    context_tokens: int | None
    """What it was trained for."""
    size_bytes: int
    path: Path | None
    """Where it is, once it is here."""


class OfferedVariant(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `pull REFERENCE --list --json`."""

    reference: str
    label: str | None
    size_bytes: int
    n_files: int


@app.command()
def pull(
    name: Model,
    *,
    lists: Annotated[
        bool, typer.Option("--list", help="Only show what there is to fetch: of a repository of the hub all of it.")
    ] = False,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Fetch a model, or go on where an earlier pull stopped."""
    from completionist.cli import fetching  # noqa: PLC0415 - not for the commands beside this one

    settings = read_settings({}, config).models
    if lists and (entry := catalog().get(name)):
        _print_variants([_offered_entry(entry)], as_json=as_json)
        return
    if lists and (reference := hub_reference(name)):
        _print_variants(offered(fetching.plan_of(reference)), as_json=as_json)
        return
    model = fetching.pull(name, settings)
    typer.echo(json_text(model) if as_json else f"{model.name}: {model.path}")


@app.command("list")
@app.command("ls", hidden=True)
def list_models(as_json: Json = False, config: Config = None) -> None:
    """List the models that are here, and those of the catalogue that can be."""
    rows = listed(read_settings({}, config).models)
    if as_json:
        typer.echo(json_text(rows))
        return
    width = max(len(row.name) for row in rows)
    for row in rows:
        state = str(row.path) if row.path else f"not here; pull fetches {megabytes(row.size_bytes)}"
        typer.echo(f"{row.name:{width}}  {row.description}  ({state})")


@app.command("rm")
def remove_model(name: Model, as_json: Json = False, config: Config = None) -> None:
    """Remove a model that was pulled from this machine."""
    removed = remove(name, read_settings({}, config).models)
    typer.echo(json_text(removed) if as_json else f"{removed.name}: removed, {megabytes(removed.freed_bytes)} freed")


def offered(planned: HubPlan) -> list[OfferedVariant]:
    """What a repository has, the smallest first."""
    known = sorted((planned.variant, *planned.others), key=lambda one: one.size_bytes)
    return [
        OfferedVariant(
            reference=reference_of(planned.repository.name, planned.reference.revision, one, known).text,
            label=one.label,
            size_bytes=one.size_bytes,
            n_files=one.n_files,
        )
        for one in known
    ]


def _offered_entry(entry: CatalogEntry) -> OfferedVariant:
    return OfferedVariant(reference=entry.name, label=None, size_bytes=entry.size_bytes, n_files=1)


def listed(settings: ModelSettings) -> list[ListedModel]:
    """Every model of the catalogue, in its order, then what is here from the hub."""
    here = installed(settings)
    paths = {model.name: model.path for model in here}
    catalogued = [_row(entry, paths.get(entry.name)) for entry in catalog().values()]
    return catalogued + [_hub_row(model) for model in here if model.name not in catalog()]


def _row(entry: CatalogEntry, path: Path | None) -> ListedModel:
    return ListedModel(
        name=entry.name,
        is_installed=path is not None,
        description=entry.description,
        publisher=entry.publisher,
        licence=entry.licence,
        context_tokens=entry.context_tokens,
        size_bytes=entry.size_bytes,
        path=path,
    )


def _hub_row(model: ModelFile) -> ListedModel:
    """What the file itself tells, where it can be read."""
    facts = read_beginning(model.path)
    return ListedModel(
        name=model.name,
        is_installed=True,
        description=f"{facts.text('general.name') or 'a model'} from the hub, {megabytes(model.size_bytes)}",
        publisher=model.publisher,
        licence=facts.text("general.license"),
        context_tokens=facts.number(facts.own("context_length")),
        size_bytes=model.size_bytes,
        path=model.path,
    )


def _print_variants(rows: list[OfferedVariant], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json_text(rows))
        return
    width = max(len(row.reference) for row in rows)
    for row in rows:
        parts = f" in {row.n_files} parts" if row.n_files > 1 else ""
        typer.echo(f"{row.reference:{width}}  {megabytes(row.size_bytes)}{parts}")
