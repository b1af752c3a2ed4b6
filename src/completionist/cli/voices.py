"""`completionist voices`: what answers are spoken with."""

from __future__ import annotations

import typer

from completionist.cli.configure import read_settings
from completionist.cli.options import Config
from completionist.cli.terminal import megabytes
from completionist.models.speech import speech_directory, speech_model

app = typer.Typer()
group = typer.Typer(help="The voices that answers are spoken with.", no_args_is_help=True)
app.add_typer(group, name="voices")


@group.command()
def pull(config: Config = None) -> None:
    """Fetch the speech model and its voices, or go on where an earlier pull stopped."""
    from completionist.cli.progress import byte_progress  # noqa: PLC0415 - it takes long to import
    from completionist.models.pull import fetch  # noqa: PLC0415 - likewise

    settings = read_settings({}, config)
    model, directory = speech_model(), speech_directory(settings)
    with byte_progress() as draw:
        fetch(
            model.asset,
            directory,
            settings.models,
            lambda at: draw(f"{model.name}: {at.stage} {megabytes(at.total_bytes)}", at.done_bytes, at.total_bytes),
            command="completionist voices pull",
        )
    typer.echo(f"{model.name}, {len(model.voices)} voices: {directory}")


@group.command("list")
def list_voices(config: Config = None) -> None:
    """List the voices and whether they are here."""
    model, directory = speech_model(), speech_directory(read_settings({}, config))
    is_here = model.asset.is_in(directory)
    state = (
        str(directory)
        if is_here
        else f"not here; completionist voices pull fetches {megabytes(model.asset.download_bytes)}"
    )
    typer.echo(f"{model.name} by {model.publisher}, {model.licence} ({state})")
    for name, voice in model.voices.items():
        typer.echo(f"{name:8} {'British' if voice.is_british else 'American'} English")
