"""A JSON Schema as a model reads it, in about half of its characters, for each token of the answer attends to all of them.

    {"type": "object", "properties": {"size": {"type": "integer", "minimum": 1}, "tags": {"type": "array", "items": …}}, …}
    {"size": integer (minimum 1), "tags"?: [string, ...]}

It reads like the answer: the keys as JSON has them, with types in place of the values. What only the grammar has to know is
left out: that no other property comes, and that all of them do; those that need not come have a question mark.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from completionist.types.schemas import Schema, nesting

_MAX_NESTING = 64
_TYPES = frozenset({"string", "integer", "number", "boolean", "null", "object", "array", "any"})
_NOTED = (
    "minLength",
    "maxLength",
    "pattern",
    "format",
    "minimum",
    "exclusiveMinimum",
    "maximum",
    "exclusiveMaximum",
    "multipleOf",
    "minItems",
    "maxItems",
    "uniqueItems",
    "default",
    "title",
    "description",
)
_REFERENCE = re.compile(r"#/(?:\$defs|definitions)/(\w+)")
_DEFINITIONS = ("$defs", "definitions")


class _Untold(Exception):
    """Something in the schema has no place in this form."""


def shorthand(schema: Schema) -> str | None:
    """None for a schema that says more than this form can; it may also be none at all."""
    if nesting(schema) > _MAX_NESTING:
        return None
    root = {keyword: value for keyword, value in schema.items() if keyword not in _DEFINITIONS}
    try:
        lines = [_type(root), *(f"{name}: {_type(one, name)}" for name, one in _definitions(schema))]
    except _Untold:
        return None
    return "\n".join(lines)


def _definitions(schema: Schema) -> Iterator[tuple[str, object]]:
    for keyword in _DEFINITIONS:
        for name, definition in _mapping(schema.get(keyword, {})).items():
            if not _REFERENCE.fullmatch(f"#/$defs/{name}"):
                raise _Untold
            yield name, definition


def _type(schema: object, name: str = "") -> str:
    """`name` is the property's or the definition's."""
    left = dict(_mapping(schema))
    notes = [note for keyword in _NOTED if keyword in left for note in _note(keyword, left.pop(keyword), name)]
    text = _unnoted(left)
    if left:
        raise _Untold
    return f"{text} ({', '.join(notes)})" if notes else text


def _note(keyword: str, value: object, name: str) -> Iterator[str]:
    if keyword == "title" and _is_same(value, name):
        return
    yield _json(value) if keyword in ("title", "description") else f"{keyword} {_json(value)}"


def _is_same(title: object, name: str) -> bool:
    """Pydantic gives every property a title: its name with blanks and capitals."""
    return isinstance(title, str) and title.replace(" ", "_").lower() == name.lower()


def _unnoted(left: dict[str, Any]) -> str:
    """Takes out of `left` what it tells."""
    if "$ref" in left:
        return _referred(left.pop("$ref"))
    if "anyOf" in left:
        return " | ".join(_type(one) for one in _sequence(left.pop("anyOf")))
    if "const" in left or "enum" in left:
        left.pop("type", None)
        return _json(left.pop("const")) if "const" in left else " | ".join(map(_json, _sequence(left.pop("enum"))))
    kind = left.pop("type", "any")
    if kind == "object":
        return _object(left)
    if kind == "array" and "items" in left:
        return f"[{_type(left.pop('items'))}, ...]"
    kinds = _sequence(kind) if isinstance(kind, list) else [kind]
    if not all(isinstance(one, str) and one in _TYPES for one in kinds):
        raise _Untold
    return " | ".join(kinds)


def _object(left: dict[str, Any]) -> str:
    others = left.pop("additionalProperties", False)
    properties, required = _mapping(left.pop("properties", {})), left.pop("required", [])
    if isinstance(others, Mapping):
        if properties:
            raise _Untold
        return f"{{string: {_type(others)}, ...}}"
    if not isinstance(required, list) or not all(key in properties for key in required if isinstance(key, str)):
        raise _Untold
    if not properties:
        return "object"
    parts = (f"{_json(key)}{'' if key in required else '?'}: {_type(one, key)}" for key, one in properties.items())
    return f"{{{', '.join(parts)}}}"


def _referred(reference: object) -> str:
    found = _REFERENCE.fullmatch(reference) if isinstance(reference, str) else None
    if found is None:
        raise _Untold
    return found[1]


def _mapping(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _Untold
    return value


def _sequence(value: object) -> list[Any]:
    """At least one."""
    if not isinstance(value, list) or not value:
        raise _Untold
    return value


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
