"""`completionist voices`: what answers are spoken with. A running server knows of a change at the next request."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import inf
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from completionist import ids
from completionist.cli.configure import read_settings
from completionist.cli.db import opened
from completionist.cli.options import Config, Json
from completionist.cli.terminal import json_text, megabytes, moment, table
from completionist.errors import OperatorError
from completionist.models.speech import SpeechModel, Voice, speech_directory, speech_model
from completionist.models.styles import blended, read_style
from completionist.settings import PROJECT_NAME
from completionist.store.sql import voices
from completionist.store.sql.voices import CustomVoice
from completionist.store.voices import Style
from completionist.types.caller import DEFAULT_PROJECT

app = typer.Typer()
group = typer.Typer(help="The voices that answers are spoken with.", no_args_is_help=True)
app.add_typer(group, name="voices")

VoiceId = Annotated[str, typer.Argument(help="The id of a custom voice, as `completionist voices list` shows it.")]


class NamedVoice(msgspec.Struct, frozen=True, kw_only=True):
    """One that everyone may name."""

    name: str
    is_british: bool
    gain: float

    @classmethod
    def of(cls, name: str, voice: Voice) -> NamedVoice:
        return cls(name=name, is_british=voice.is_british, gain=voice.gain)


class ShownVoices(msgspec.Struct, frozen=True, kw_only=True):
    """`voices list --json`."""

    model: str
    directory: Path
    is_here: bool
    """Whether model and named voices have been pulled."""
    named: Sequence[NamedVoice]
    custom: Sequence[CustomVoice]


@group.command()
def pull(as_json: Json = False, config: Config = None) -> None:
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
    if as_json:
        typer.echo(json_text({"name": model.name, "voices": list(model.voices), "directory": directory}))
    else:
        typer.echo(f"{model.name}, {len(model.voices)} voices: {directory}")


@group.command()
def create(
    name: Annotated[str, typer.Argument(help="To tell it from others: 1 to 64 characters.")],
    *,
    blend: Annotated[
        str | None,
        typer.Option(help="Named voices and their weights: alloy=0.6,onyx=0.4. Without weights: equal ones."),
    ] = None,
    style: Annotated[
        Path | None, typer.Option(help="A style file of the speech model: raw float32, little-endian, 510 x 1 x 256.")
    ] = None,
    project: Annotated[str, typer.Option(help="Whose requests may name it.")] = DEFAULT_PROJECT,
    british: Annotated[
        bool | None, typer.Option("--british/--american", help="Its accent; of a blend else the heaviest voice's.")
    ] = None,
    gain: Annotated[
        float | None, typer.Option(min=0.01, max=100.0, help="How much louder it is made; of a blend else its voices'.")
    ] = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Make a voice for one project, as a blend of named ones or from a style file, and print its id."""
    _check_names(name, project)
    made, made_of = _style(blend, style, config)
    if british is not None:
        made = msgspec.structs.replace(made, is_british=british)
    voice = CustomVoice(
        id=ids.voice_id(),
        project=project,
        name=name,
        made_of=made_of,
        is_british=made.is_british,
        gain=made.gain if gain is None else gain,
        created=ids.now_s(),
    )
    with opened(config, migrates=True) as database, database.writing() as connection:
        voices.add(connection, voice, made.numbers)
    typer.echo(json_text(voice) if as_json else voice.id)


@group.command("list")
def list_voices(
    project: Annotated[str | None, typer.Option(help="Custom voices of one project only.")] = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """List the named voices and whether they are here, and the custom ones."""
    model, directory = speech_model(), speech_directory(read_settings({}, config))
    is_here = model.asset.is_in(directory)
    with opened(config, migrates=True) as database, database.reading() as connection:
        custom = voices.list_voices(connection, project)
    if as_json:
        named = [NamedVoice.of(name, voice) for name, voice in model.voices.items()]
        shown = ShownVoices(model=model.name, directory=directory, is_here=is_here, named=named, custom=custom)
        typer.echo(json_text(shown))
        return
    state = (
        str(directory)
        if is_here
        else f"not here; completionist voices pull fetches {megabytes(model.asset.download_bytes)}"
    )
    typer.echo(f"{model.name} by {model.publisher}, {model.licence} ({state})")
    for name, voice in model.voices.items():
        typer.echo(f"{name:8} {_accent(voice)}")
    if custom:
        rows = [(it.id, it.project, it.name, it.made_of, _accent(it), moment(it.created)) for it in custom]
        typer.echo("\n" + table(("id", "project", "name", "made of", "accent", "created"), rows))


@group.command()
def show(
    voice: Annotated[str, typer.Argument(help="A name, or the id of a custom voice.")],
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Show one voice, and how a request names it."""
    model = speech_model()
    if voice in model.voices:
        named = NamedVoice.of(voice, model.voices[voice])
        typer.echo(json_text(named) if as_json else f'{voice}: {_accent(named)}, "voice": "{voice}"')
        return
    with opened(config, migrates=True) as database, database.reading() as connection:
        custom = voices.get(connection, voice)
    typer.echo(json_text(custom) if as_json else _described(custom))


@group.command()
def delete(id_: VoiceId, as_json: Json = False, config: Config = None) -> None:
    """Forget a custom voice; requests that name it are refused from then on."""
    with opened(config, migrates=True) as database, database.writing() as connection:
        voices.remove(connection, id_)
    typer.echo(json_text({"id": id_, "deleted": True}) if as_json else f"{id_} is deleted")


def _style(blend: str | None, file: Path | None, config: Path | None) -> tuple[Style, str]:
    """And what it is made of."""
    if (blend is None) == (file is None):
        raise OperatorError("say what the voice is to be made of: either --blend or --style")
    if file is not None:
        return read_style(file, is_british=False, gain=1.0), f"the file {file.name}"
    weights = _weights(blend or "")
    model: SpeechModel = speech_model()
    return blended(weights, model, speech_directory(read_settings({}, config))), ", ".join(
        f"{name} {weight:g}" for name, weight in weights.items()
    )


def _weights(text: str) -> dict[str, float]:
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, _, number = part.partition("=")
        try:
            weight = float(number or 1)
        except ValueError:
            weight = 0.0
        if not 0 < weight < inf or name.strip() in weights:
            raise OperatorError(f"cannot blend '{text}': write each voice once, as alloy=0.6,onyx=0.4")
        weights[name.strip()] = weight
    return weights


def _check_names(name: str, project: str) -> None:
    if not (0 < len(name) <= 64 and name.isprintable()):
        raise OperatorError("the name of a voice has 1 to 64 printable characters")
    if re.fullmatch(PROJECT_NAME, project) is None:
        raise OperatorError(f"'{project}' cannot be the name of a project: 1 to 64 letters, digits, _ and -")


def _accent(voice: Voice | NamedVoice | CustomVoice) -> str:
    return "British English" if voice.is_british else "American English"


def _described(voice: CustomVoice) -> str:
    lines = (
        f"id       {voice.id}",
        f"name     {voice.name}",
        f"project  {voice.project}",
        f"made of  {voice.made_of}",
        f"accent   {_accent(voice)}",
        f"gain     {voice.gain:g}",
        f"created  {moment(voice.created)}",
        f'request  "audio": {{"voice": {{"id": "{voice.id}"}}, "format": "wav"}}',
    )
    return "\n".join(lines)
