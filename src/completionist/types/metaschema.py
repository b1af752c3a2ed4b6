"""Whether a JSON Schema is one: keywords that are there have values of their kind (contract 4.1).

What may be enforced of it is another question, and so are keywords that nobody knows: they say nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from completionist.types.refusals import InvalidSchema
from completionist.types.schemas import Schema, context, root_fault, subschemas

TYPES = frozenset({"string", "number", "integer", "boolean", "null", "object", "array"})

Fits = Callable[[Any], bool]


def check_schema(schema: Schema | None, *, param: str, subject: str, code: str | None, is_strict: bool) -> None:
    """None is no schema; of a strict one more is asked than this, later. Raises `InvalidSchema`."""
    if schema is None:
        return
    fault = root_fault(schema, is_strict=is_strict) or (None if is_strict else metaschema_fault(schema))
    if fault is not None:
        raise InvalidSchema(param, subject, fault, code=code)


def metaschema_fault(schema: Schema) -> str | None:
    """The first wrong value, depth first in document order, with the path of its schema; an array has to say what it holds."""
    for path, node in subschemas(schema):
        for keyword, value in node.items():
            wanted, fits = _KEYWORDS.get(keyword, _ANYTHING)
            if not fits(value):
                return f"{context(path)}'{keyword}' must be {wanted}."
        if node.get("type") == "array" and "items" not in node and "prefixItems" not in node:
            return f"{context(path)}array schema missing items."
    return None


def _is_schema(value: object) -> bool:
    return isinstance(value, dict | bool)


def _is_schemas(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_schema, value))


def _is_schema_map(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_schema, value.values()))


def _is_type(value: object) -> bool:
    kinds = value if isinstance(value, list) and value else [value]
    return all(isinstance(kind, str) and kind in TYPES for kind in kinds)


def _is_strings(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


_ANYTHING: tuple[str, Fits] = ("anything", lambda _: True)
_SCHEMA: tuple[str, Fits] = ("a schema", _is_schema)
_SCHEMAS: tuple[str, Fits] = ("an array of schemas", _is_schemas)
_SCHEMA_MAP: tuple[str, Fits] = ("an object of schemas", _is_schema_map)
_STRING: tuple[str, Fits] = ("a string", lambda value: isinstance(value, str))
_NUMBER: tuple[str, Fits] = ("a number", _is_number)
_COUNT: tuple[str, Fits] = ("a non-negative integer", _is_count)

_KEYWORDS: Mapping[str, tuple[str, Fits]] = {
    "type": (f"one of {', '.join(sorted(TYPES))}, or an array of them", _is_type),
    "enum": ("an array", lambda value: isinstance(value, list)),
    "required": ("an array of strings", _is_strings),
    "items": ("a schema", lambda value: _is_schema(value) or _is_schemas(value)),  # several: the older tuples
    **dict.fromkeys(("additionalProperties", "contains", "propertyNames", "not", "if", "then", "else"), _SCHEMA),
    **dict.fromkeys(("anyOf", "oneOf", "allOf", "prefixItems"), _SCHEMAS),
    **dict.fromkeys(("properties", "patternProperties", "dependentSchemas", "$defs", "definitions"), _SCHEMA_MAP),
    **dict.fromkeys(("pattern", "format", "title", "description", "$ref"), _STRING),
    **dict.fromkeys(("minimum", "maximum", "multipleOf"), _NUMBER),
    **dict.fromkeys(
        ("exclusiveMinimum", "exclusiveMaximum"),
        ("a number", lambda value: isinstance(value, bool) or _is_number(value)),  # a boolean in the older drafts
    ),
    **dict.fromkeys(
        ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties", "minContains", "maxContains"),
        _COUNT,
    ),
}  # fmt: skip
