"""`completionist engine`: the native library, as it is and as this machine could have it."""

from __future__ import annotations

from typing import Annotated

import typer

from completionist.cli.configure import read_settings
from completionist.cli.options import Config, Json
from completionist.cli.progress import percent_progress
from completionist.cli.terminal import json_text
from completionist.engine.llama.build import build as build_library
from completionist.engine.llama.build import default_accelerator
from completionist.engine.llama.library import Accelerator
from completionist.engine.llama.show import show as engine_report

group = typer.Typer(name="engine", help="The native inference library.", no_args_is_help=True)
app = typer.Typer()
app.add_typer(group)


@group.command()
def build(
    accelerator: Annotated[
        Accelerator | None, typer.Option(help="What to compile for; by default cpu, on a Mac metal.")
    ] = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Compile the pinned llama.cpp for this very processor (minutes; needs cmake and a C++ compiler)."""
    settings = read_settings({}, config).models
    with percent_progress() as draw:
        library = build_library(
            settings, accelerator or default_accelerator(), lambda at: draw(f"engine: {at.stage}", at.percent, 100)
        )
    typer.echo(json_text(library) if as_json else f"{library.description}: {library.path}")


@group.command()
def show(as_json: Json = False, config: Config = None) -> None:
    """Show which library runs, what it was compiled for, and whether building one would pay."""
    settings = read_settings({}, config)
    report = engine_report(settings.engine, settings.models)
    if as_json:
        typer.echo(json_text(report))
        return
    typer.echo(f"library   {report.library.description}\npath      {report.library.path}")
    typer.echo(f"compiled  {report.system_info}\nadvice    {report.advice}")
