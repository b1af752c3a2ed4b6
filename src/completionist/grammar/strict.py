"""The strict subset of JSON Schema: accept a schema or say where it leaves the subset (contract, sections 7.2 to 7.4).

The first violation in document order is told, a schema before what stands inside it. Whether patterns compile and how
large the grammar gets is judged where the grammar is made. An `anyOf` may cost as many steps as there are properties in the
schema, so a hostile one of a megabyte takes a second or two: not for the event loop.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from completionist.errors import echo
from completionist.types.metaschema import TYPES
from completionist.types.schemas import Path, Schema, context, root_fault

MAX_PROPERTIES = 5000
MAX_LEVELS = 10
MAX_CHARACTERS = 120_000
"""Of all property names, definition names, enum values and const values together."""
MAX_ENUM_VALUES = 1000
MAX_SMALL_ENUM_VALUES = 250
"""In one string enum, before the length of its values counts."""
MAX_ENUM_CHARACTERS = 15_000

MAX_HOPS = 32
"""From a reference that leads to nothing but a reference, and so on; longer ways are taken for circles."""

FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"})

_DEFINITIONS = ("$defs", "definitions")
NOT_AT_TOP = "reference can only point to definitions defined at the top level of the schema."
_SHARED_KEY = (
    "Objects provided via 'anyOf' must not share identical first keys. Consider adding a discriminator key or "
    "rearranging the properties to ensure the first key is unique."
)
_REQUIRED = "'required' is required to be supplied and to be an array including every key in properties."


class Node(NamedTuple):
    """A schema inside `root`; `level` counts the objects and arrays around it, and itself if it is one."""

    schema: Any
    path: Path
    level: int
    root: Schema


T = TypeVar("T", dict[str, Any], list[Any])

Rule = Callable[[Node], str | None]


def find_fault(schema: Schema) -> str | None:
    """How `schema` leaves the subset, with the path in front; None where it does not."""
    whole = root_fault(schema, is_strict=True) or _oversize(schema)
    if whole is not None:
        return whole
    for node in nodes(schema):
        for rule in RULES:
            fault = rule(node)
            if fault is not None:
                return context(node.path) + fault
    return None


def nodes(root: Schema) -> Iterator[Node]:
    """`root` and every schema inside it, depth first in document order; definitions start at level 0 again."""
    return _walk(root, (), 0, root)


def _walk(schema: object, path: Path, level: int, root: Schema) -> Iterator[Node]:
    level += bool(_types(schema) & {"object", "array"})
    yield Node(schema, path, level, root)
    for steps, child in _children(schema):
        yield from _walk(child, (*path, *steps), 0 if steps[0] in _DEFINITIONS else level, root)


def _children(schema: object) -> Iterator[tuple[Path, object]]:
    for keyword, value in schema.items() if isinstance(schema, dict) else ():
        if keyword == "items":
            yield (keyword,), value
        elif keyword == "anyOf" and isinstance(value, list):
            yield from (((keyword, str(i)), branch) for i, branch in enumerate(value))
        elif keyword in ("properties", *_DEFINITIONS) and isinstance(value, dict):
            yield from (((keyword, name), child) for name, child in value.items())


def _types(schema: object) -> frozenset[str]:
    kinds = schema.get("type", ()) if isinstance(schema, dict) else ()
    if isinstance(kinds, str):
        return frozenset({kinds})
    return frozenset(kind for kind in kinds if isinstance(kind, str)) if isinstance(kinds, list) else frozenset()


# What may stand in a schema, and in which form.


class Form(NamedTuple):
    wanted: str
    fits: Callable[[Any], bool]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_strings(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


_STRING = Form("a string", lambda value: isinstance(value, str))
_NUMBER = Form("a number", _is_number)
_COUNT = Form("a non-negative integer", _is_count)
_OBJECT = Form("an object", lambda value: isinstance(value, dict))
_FILLED = Form("an array with at least one item", lambda value: isinstance(value, list) and bool(value))
_ANY = Form("anything", lambda _value: True)

KEYWORDS: Mapping[str, Form] = {
    "type": Form("a string or an array of strings", lambda value: isinstance(value, str) or _is_strings(value)),
    "enum": _FILLED,
    "const": _ANY,
    "anyOf": _FILLED,
    "$ref": _STRING,
    "$defs": _OBJECT,
    "definitions": _OBJECT,
    "pattern": _STRING,
    "format": _STRING,
    "multipleOf": Form("a number above 0", lambda value: _is_number(value) and value > 0),
    "minimum": _NUMBER,
    "maximum": _NUMBER,
    "exclusiveMinimum": _NUMBER,
    "exclusiveMaximum": _NUMBER,
    "items": _ANY,
    "minItems": _COUNT,
    "maxItems": _COUNT,
    "properties": _OBJECT,
    "required": Form("an array of strings", _is_strings),
    "additionalProperties": _ANY,
    "title": _STRING,
    "description": _STRING,
    "$schema": _STRING,  # names the dialect; the official helpers of other languages write it at the root
}


# The rules, each with the tail that it leads to. Later ones rely on the forms that earlier ones have checked.


def _is_typed(node: Node) -> str | None:
    if not isinstance(node.schema, dict) or not {"type", "anyOf", "$ref"} & node.schema.keys():
        return "schema must have a 'type' key."
    return None


def _keywords_are_permitted(node: Node) -> str | None:
    for keyword, value in node.schema.items():
        form = KEYWORDS.get(keyword)
        if form is None or (keyword == "anyOf" and not node.path):
            return f"'{echo(keyword)}' is not permitted."
        if not form.fits(value):
            return f"'{keyword}' must be {form.wanted}."
    return None


def _types_exist(node: Node) -> str | None:
    unknown = sorted(_types(node.schema) - TYPES)
    return f"'{echo(unknown[0])}' is not a valid type." if unknown else None


def _format_is_known(node: Node) -> str | None:
    name = node.schema.get("format")
    return None if name is None or name in FORMATS else f"'{echo(name)}' is not a valid format."


def _reference_stands_alone(node: Node) -> str | None:
    siblings = [keyword for keyword in node.schema if keyword != "$ref"]
    return f"$ref cannot have keywords {{'{siblings[0]}'}}." if "$ref" in node.schema and siblings else None


def _reference_leads_to_a_definition(node: Node) -> str | None:
    return NOT_AT_TOP if "$ref" in node.schema and resolve(node.schema, node.root) is None else None


def _object_is_closed(node: Node) -> str | None:
    if "object" in _types(node.schema) and node.schema.get("additionalProperties") is not False:
        return "'additionalProperties' is required to be supplied and to be false."
    return None


def _every_property_is_required(node: Node) -> str | None:
    """A property that holds anything at all, or any map, has no place in the subset: the wire calls it extra."""
    properties, required = node.schema.get("properties", {}), node.schema.get("required", [])
    named = set(required)
    for name in properties:
        if name not in named:
            return f"{_REQUIRED} Missing '{echo(name)}'."
    for name in required:
        if name not in properties or _is_free(properties[name]):
            return f"{_REQUIRED} Extra required key '{echo(name)}' supplied."
    return None


def _is_free(schema: object) -> bool:
    return schema == {} or (isinstance(schema, dict) and schema.get("type") == "object" and "properties" not in schema)


def _array_has_items(node: Node) -> str | None:
    return "array schema missing items." if "array" in _types(node.schema) and "items" not in node.schema else None


def _branches_can_be_told_apart(node: Node) -> str | None:
    """By their first keys; where two agree in that, by constants under one key that all of these branches have."""
    by_first_key: dict[str, list[Mapping[str, Any]]] = {}
    for branch in node.schema.get("anyOf", ()):
        target = resolve(branch, node.root)
        properties = target.get("properties") if target is not None else None
        if isinstance(properties, dict) and properties:
            by_first_key.setdefault(next(iter(properties)), []).append(properties)
    return None if all(_have_discriminator(group) for group in by_first_key.values()) else _SHARED_KEY


def _have_discriminator(branches: Sequence[Mapping[str, Any]]) -> bool:
    if len(branches) == 1:
        return True
    if len({id(branch) for branch in branches}) < len(branches):
        return False  # one definition twice; told first, so that the work below stays within the size of the schema
    candidates = set(branches[0]).intersection(*branches[1:])
    return any(_are_disjoint([_constants(branch[name]) for branch in branches]) for name in candidates)


def _constants(schema: object) -> frozenset[str]:
    """The values that `schema` allows, as JSON; empty where it does not list them."""
    if not isinstance(schema, dict):
        return frozenset()
    listed = [schema["const"]] if "const" in schema else schema.get("enum", ())
    return frozenset(json.dumps(value, sort_keys=True) for value in listed) if isinstance(listed, list) else frozenset()


def _are_disjoint(sets: Sequence[frozenset[str]]) -> bool:
    return all(sets) and len(frozenset().union(*sets)) == sum(len(one) for one in sets)


def _is_not_too_deep(node: Node) -> str | None:
    if node.level > MAX_LEVELS:
        return f"{node.level} levels of nesting exceeds limit of {MAX_LEVELS}."
    return None


def _enum_is_not_too_long(node: Node) -> str | None:
    values = node.schema.get("enum", ())
    if len(values) <= MAX_SMALL_ENUM_VALUES or not all(isinstance(value, str) for value in values):
        return None
    n = sum(map(len, values))
    return (
        f"Too many characters in one enum: {n} exceeds limit of {MAX_ENUM_CHARACTERS}."
        if n > MAX_ENUM_CHARACTERS
        else None
    )


RULES: tuple[Rule, ...] = (
    _is_typed,
    _keywords_are_permitted,
    _types_exist,
    _format_is_known,
    _reference_stands_alone,
    _reference_leads_to_a_definition,
    _object_is_closed,
    _every_property_is_required,
    _array_has_items,
    _branches_can_be_told_apart,
    _is_not_too_deep,
    _enum_is_not_too_long,
)


def resolve(schema: object, root: Schema) -> Schema | None:
    """`schema`, or what its reference means; None where that is no definition of `root`, or a circle of references."""
    for _ in range(MAX_HOPS):
        if not isinstance(schema, dict):
            return None
        if "$ref" not in schema:
            return schema
        reference = schema["$ref"]
        schema = root if reference == "#" else _definition(str(reference), root)
    return None


def _definition(reference: str, root: Schema) -> object:
    start, _, name = reference.rpartition("/")
    place = start.removeprefix("#/")
    held = root.get(place) if place in _DEFINITIONS and start != place else None
    return held.get(name.replace("~1", "/").replace("~0", "~")) if isinstance(held, dict) else None


def _oversize(root: Schema) -> str | None:
    """The limits on the whole schema (section 7.3). Comes before the rules, and so bounds their work."""
    n_properties = n_enum_values = n_characters = 0
    for node in nodes(root):
        properties = _held(node.schema, "properties", dict)
        enum = _held(node.schema, "enum", list)
        definitions = [name for keyword in _DEFINITIONS for name in _held(node.schema, keyword, dict)]
        constants = [node.schema["const"]] if isinstance(node.schema, dict) and "const" in node.schema else []
        n_properties += len(properties)
        n_enum_values += len(enum)
        n_characters += sum(map(_length, [*properties, *definitions, *enum, *constants]))
    for what, n, limit in (
        ("object properties", n_properties, MAX_PROPERTIES),
        ("enum values", n_enum_values, MAX_ENUM_VALUES),
        ("characters in names and values", n_characters, MAX_CHARACTERS),
    ):
        if n > limit:
            return f"{context(())}Too many {what}: {n} exceeds limit of {limit}."
    return None


def _held(schema: object, keyword: str, kind: type[T]) -> T:
    """What stands under `keyword`, if it has the right form; nothing otherwise."""
    value = schema.get(keyword) if isinstance(schema, dict) else None
    return value if isinstance(value, kind) else kind()


def _length(value: object) -> int:
    return len(value) if isinstance(value, str) else len(json.dumps(value))
