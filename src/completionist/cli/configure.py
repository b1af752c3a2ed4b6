"""Settings for a command: flag, then environment, then TOML file, then default; anything unknown or wrong is one line."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from completionist.cli.environment import PREFIX, from_environment, merged
from completionist.errors import OperatorError
from completionist.settings import Settings

CONFIG_VARIABLE = "COMPLETIONIST_CONFIG"


class SettingsRefused(OperatorError):
    """A setting is unknown or its value is not taken."""

    exit_code: ClassVar[int] = 2


def read_settings(flags: Mapping[str, Any], config: Path | None = None) -> Settings:
    """`flags` are dotted keys with their values; None means that the flag was not given.

    Raises `SettingsRefused`, with a message that names the key.
    """
    file = config_file(config)
    try:
        return Settings(**merged(merged(_read(file), _environment()), _nested(flags)))
    except ValidationError as error:
        raise SettingsRefused(_explanation(error.errors(), file)) from None


def config_file(given: Path | None) -> Path | None:
    """`given`, else what COMPLETIONIST_CONFIG names, else ./completionist.toml, else the user's; None where there is none."""
    if given is not None:
        return given.expanduser()
    if named := os.environ.get(CONFIG_VARIABLE):
        return Path(named).expanduser()
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    usual = (Path("completionist.toml"), home / "completionist" / "config.toml")
    return next((path for path in usual if path.is_file()), None)


def known_keys(section: type[BaseModel] = Settings, prefix: str = "") -> list[str]:
    """Every dotted key, sections themselves left out."""
    keys: list[str] = []
    for name, field in section.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            keys += known_keys(inner, f"{prefix}{name}.")
        else:
            keys.append(prefix + name)
    return keys


def _read(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise SettingsRefused(f"{file} is no valid TOML: {error}") from None
    except UnicodeDecodeError:
        raise SettingsRefused(f"{file} is not UTF-8 text") from None
    except OSError as error:
        raise SettingsRefused(f"cannot read the settings file {file}: {error.strerror}") from None


def _environment() -> dict[str, Any]:
    """A variable that is no setting is refused by its own name: a typing slip must not pass silently."""
    said = {name: text for name, text in os.environ.items() if name.startswith(PREFIX) and name != CONFIG_VARIABLE}
    for variable in said:
        key = variable.removeprefix(PREFIX).lower().replace("__", ".")
        if key.split(".")[0] not in Settings.model_fields:
            raise SettingsRefused(f"unknown setting {variable} in the environment{_suggestion(key)}")
    try:
        return from_environment(said)
    except ValueError as error:
        raise SettingsRefused(str(error)) from None


def _nested(flags: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in flags.items():
        if value is not None:
            *sections, name = key.split(".")
            place = tree
            for section in sections:
                place = place.setdefault(section, {})
            place[name] = value
    return tree


def _explanation(errors: list[ErrorDetails], file: Path | None) -> str:
    first = errors[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        said = f"unknown setting '{key}'{_suggestion(key)}"
    elif first["type"] == "value_error":  # a rule across settings, or across those of one section
        said = (f"setting '{key}': " if key else "") + first["msg"].removeprefix("Value error, ")
    else:
        said = f"setting '{key}': {first['msg'][:1].lower()}{first['msg'][1:]}"
        if first["loc"][0] != "keys":  # a key put where its digest belongs must not reach a log
            said += f", not {first['input']!r}"
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    source = f" (settings file: {file})" if file else ""
    return said + more + source


def _suggestion(key: str) -> str:
    close = get_close_matches(key, known_keys(), n=1)
    return f": did you mean '{close[0]}'?" if close else ": docs/configuration.md lists them"
