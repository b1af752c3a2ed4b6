"""`completionist alias`: other names for models, for this machine's servers, the running one too."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path
from typing import Annotated, get_args

import msgspec
import typer

from completionist import ids
from completionist.cli.configure import read_settings
from completionist.cli.options import Config, Json, known_aliases, known_models
from completionist.cli.terminal import json_text
from completionist.models.installed import installed, resolve
from completionist.registry.aliases import FILE_NAME, Alias, AliasFile, AliasRefused, check, configured
from completionist.settings import ProfileName, Settings
from completionist.store.sql.place import data_directory

group = typer.Typer(name="alias", help="Other names for models.", no_args_is_help=True)
app = typer.Typer()
app.add_typer(group)


def known_profiles(incomplete: str) -> list[str]:
    """For a shell that completes a line."""
    return [name for name in get_args(ProfileName) if name.startswith(incomplete)]


class ListedAlias(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `alias list --json`."""

    name: str
    model: str
    profile: ProfileName | None
    """None: that of the model."""
    is_configured: bool
    """It is in the settings, and changed there."""
    hides_model: bool
    """There is a model of this name, which cannot be asked for."""
    is_served: bool
    """Its model is here."""


@group.command("set")
def set_alias(
    name: Annotated[str, typer.Argument(help="The name that clients use, gpt-4o-mini for example.")],
    model: Annotated[
        str,
        typer.Argument(
            help="The model behind it; a name that `completionist list` shows.", autocompletion=known_models
        ),
    ],
    *,
    profile: Annotated[
        str | None,
        typer.Option(
            help="Show the refusals of this hosted family, gpt-4o for example.", autocompletion=known_profiles
        ),
    ] = None,
    hide: Annotated[bool, typer.Option("--hide", help="Even where there is a model of this name.")] = False,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Let a name stand for a model. A running server knows it within a second."""
    settings = read_settings({}, config)
    fixed, models = configured(settings), _models(settings)
    if name in fixed:
        raise AliasRefused(f"{name} is set in the settings, and changed there")
    alias = Alias(name=name, model=model, profile=_profile(profile), created=ids.now_s())
    with _file().changing() as aliases:
        check(alias, {**aliases, **fixed}, models, may_hide=hide)
        if model not in models:
            resolve(model, settings.models)  # says what is wrong with it
            raise AliasRefused(f'{model} has no name of its own: give it one with [served."NAME"] in the settings')
        aliases[name] = alias
    if as_json:
        typer.echo(json_text(_row(alias, fixed, models)))
    else:
        typer.echo(f"{name} stands for {model}" + (", and hides the model of its own name" if name in models else ""))


@group.command("rm")
def remove(
    name: Annotated[str, typer.Argument(autocompletion=known_aliases)], as_json: Json = False, config: Config = None
) -> None:
    """Forget a name that was set."""
    if name in configured(read_settings({}, config)):
        raise AliasRefused(f"{name} is set in the settings, and removed there")
    with _file().changing() as aliases:
        if aliases.pop(name, None) is None:
            raise AliasRefused(f"there is no alias {name}: completionist alias list")
    typer.echo(json_text({"name": name, "removed": True}) if as_json else f"{name} stands for nothing any more")


@group.command("list")
def list_aliases(as_json: Json = False, config: Config = None) -> None:
    """List the names, and the models behind them."""
    settings = read_settings({}, config)
    fixed, models = configured(settings), _models(settings)
    rows = [_row(alias, fixed, models) for alias in {**_file().read(), **fixed}.values()]
    typer.echo(json_text(rows) if as_json else "\n".join(map(_line, rows)) or "no alias is set")


def _row(alias: Alias, fixed: Container[str], models: Container[str]) -> ListedAlias:
    return ListedAlias(
        name=alias.name,
        model=alias.model,
        profile=alias.profile,
        is_configured=alias.name in fixed,
        hides_model=alias.name in models,
        is_served=alias.model in models,
    )


def _line(row: ListedAlias) -> str:
    facts = [
        f"profile {row.profile}" if row.profile else "",
        "from the settings" if row.is_configured else "",
        "hides the model of its own name" if row.hides_model else "",
        "" if row.is_served else "not served: its model is not here",
    ]
    said = ", ".join(fact for fact in facts if fact)
    return f"{row.name} → {row.model}" + (f"  ({said})" if said else "")


def _models(settings: Settings) -> set[str]:
    """Names of models that can be served, whatever else stands for them."""
    named = {name for name, path in settings.named_files().items() if path.is_file()}
    if settings.model.endswith(".gguf"):
        named.add(Path(settings.model).stem)
    return {file.name for file in installed(settings.models)} | named


def _profile(name: str | None) -> ProfileName | None:
    try:
        return None if name is None else msgspec.convert(name, ProfileName)
    except msgspec.ValidationError:
        raise AliasRefused(f"no profile {name}: there are {', '.join(get_args(ProfileName))}") from None


def _file() -> AliasFile:
    return AliasFile(data_directory() / FILE_NAME)
