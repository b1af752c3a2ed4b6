"""`completionist version`."""

from __future__ import annotations

import typer

from completionist import __version__
from completionist.cli.options import Json
from completionist.cli.terminal import json_text

app = typer.Typer()


@app.command()
def version(as_json: Json = False) -> None:
    """Print the version."""
    typer.echo(json_text({"version": __version__}) if as_json else __version__)
