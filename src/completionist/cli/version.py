"""`completionist version`."""

from __future__ import annotations

import typer

from completionist import __version__

app = typer.Typer()


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)
