"""Settings out of the environment: `COMPLETIONIST_SERVER__PORT=9000` says `server.port`.

The usual library for this imports an event loop, a command-line parser and clients of three clouds, which is a third of what a
command that looks something up may take.
"""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

from completionist.settings import Settings

PREFIX = "COMPLETIONIST_"


def from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """A tree of sections, keys and values. A text is left to be read as its setting wants it; lists and sections are JSON.

    Raises `ValueError`, which names the variable.
    """
    tree: dict[str, Any] = {}
    for variable in sorted(environment):  # a section comes before what stands in it, which then goes first
        if variable.startswith(PREFIX):
            path = variable.removeprefix(PREFIX).lower().split("__")
            tree = merged(tree, _branch(path, _value(variable, path, environment[variable])))
    return tree


def merged(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Both, section by section; `above` wins."""
    result = dict(below)
    for key, value in above.items():
        under = result.get(key)
        result[key] = merged(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return result


def _branch(path: list[str], value: object) -> dict[str, Any]:
    for key in reversed(path):
        value = {key: value}
    return value if isinstance(value, dict) else {}


def _value(variable: str, path: list[str], text: str) -> object:
    if not _is_compound(_annotation(path)):
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{variable}: lists and sections in the environment are written as JSON ({error})") from None


def _annotation(path: list[str]) -> object:
    """The type of a key; of one that is not there, text."""
    annotation: object = Settings
    for key in path:
        if get_origin(annotation) is dict:
            annotation = get_args(annotation)[1]
        elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
            field = annotation.model_fields.get(key)
            annotation = field.annotation if field else str
        else:
            return str
    return annotation


def _is_compound(annotation: object) -> bool:
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        return any(map(_is_compound, get_args(annotation)))
    return origin in (dict, tuple, list) or (isinstance(annotation, type) and issubclass(annotation, BaseModel))
