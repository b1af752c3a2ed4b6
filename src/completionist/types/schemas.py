"""JSON Schemas that a client supplies. They stay free-form JSON.

Whether they are schemas at all is judged in `types.metaschema`, what of them can be enforced, and the strict subset of section
7, where grammars are made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from completionist.errors import echo
from completionist.types.readers import Reader

Schema = Mapping[str, Any]
"""Decoded JSON; shared and never changed."""

Path = tuple[str, ...]
"""From the root of the schema, every step as text: `('properties', 'x', 'anyOf', '0')`."""

MAX_NESTING = 256
"""Levels of JSON in one schema: far above real ones, far below what breaks pickling and compilers."""

_SCHEMA_KEYWORDS = ("items", "additionalProperties", "contains", "propertyNames", "not", "if", "then", "else")
_SCHEMA_LIST_KEYWORDS = ("anyOf", "oneOf", "allOf", "prefixItems")
_SCHEMA_MAP_KEYWORDS = ("properties", "patternProperties", "dependentSchemas", "$defs", "definitions")


class SchemaReader(Reader[Schema]):
    types = (dict,)
    expected = "an object"


def context(path: Path) -> str:
    """`In context=('properties', 'x'), `: the path as the wire prints it."""
    return f"In context={tuple(echo(step) for step in path)!r}, "


def root_fault(schema: Schema, *, is_strict: bool) -> str | None:
    """What is wrong with a schema as a whole; without `is_strict` it need not say that it is an object."""
    n_levels = nesting(schema)
    if n_levels > MAX_NESTING:  # first: what follows may write parts of the schema out
        return f"{context(())}{n_levels} levels of nesting exceeds limit of {MAX_NESTING}."
    kind = schema.get("type")
    if kind != "object" and (is_strict or "type" in schema):
        return f"schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{echo(str(kind))}\"'."
    return None


def nesting(value: object) -> int:
    """How many arrays and objects stand inside one another; 0 for a scalar. Level by level, so no depth can hurt."""
    n_levels, level = 0, [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        n_levels += 1
        level = [child for item in level for child in (item.values() if isinstance(item, dict) else item)]
    return n_levels


def subschemas(schema: Schema) -> Iterator[tuple[Path, Schema]]:
    """Every schema inside `schema`, itself first, depth first in document order."""
    stack: list[tuple[Path, Schema]] = [((), schema)]
    while stack:
        path, node = stack.pop()
        yield path, node
        children = [((*path, *steps), child) for steps, child in _children(node) if isinstance(child, dict)]
        stack.extend(reversed(children))


def _children(node: Schema) -> Iterator[tuple[Path, object]]:
    for keyword, value in node.items():
        if keyword in _SCHEMA_KEYWORDS:
            yield (keyword,), value
        elif keyword in _SCHEMA_LIST_KEYWORDS and isinstance(value, list):
            yield from (((keyword, str(i)), child) for i, child in enumerate(value))
        elif keyword in _SCHEMA_MAP_KEYWORDS and isinstance(value, dict):
            yield from (((keyword, name), child) for name, child in value.items())


SCHEMA = SchemaReader()
