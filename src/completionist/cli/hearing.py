"""`completionist hearing`: what understands speech in messages."""

from __future__ import annotations

import typer

from completionist.cli.configure import read_settings
from completionist.cli.options import Config
from completionist.cli.terminal import megabytes
from completionist.models.hearing import hearing_directory, hearing_models

app = typer.Typer()
group = typer.Typer(help="What understands speech in messages.", no_args_is_help=True)
app.add_typer(group, name="hearing")


@group.command()
def pull(config: Config = None) -> None:
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
    typer.echo(f"{model.name}: {directory}")


@group.command("list")
def list_models(config: Config = None) -> None:
    """List the models that recognise speech, and whether the chosen one is here."""
    settings = read_settings({}, config)
    for model in hearing_models().values():
        mark = "*" if model.name == settings.hearing.model else " "
        typer.echo(
            f"{mark} {model.name:16} {model.description} ({megabytes(model.asset.download_bytes)}, {model.licence})"
        )
    directory = hearing_directory(settings)
    is_here = hearing_models()[settings.hearing.model].asset.is_in(directory)
    typer.echo(str(directory) if is_here else "not here; completionist hearing pull fetches it")
