"""The strict subset of JSON Schema (contract, sections 7.2 to 7.4)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.lib._pydantic import to_strict_json_schema
from pydantic import BaseModel

from completionist.grammar.strict import KEYWORDS, find_fault

STRING = {"type": "string"}
CLOSED = "'additionalProperties' is required to be supplied and to be false."
REQUIRED = "'required' is required to be supplied and to be an array including every key in properties."
SHARED = (
    "Objects provided via 'anyOf' must not share identical first keys. Consider adding a discriminator key or "
    "rearranging the properties to ensure the first key is unique."
)
NOT_AT_TOP = "reference can only point to definitions defined at the top level of the schema."


def closed(properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
        **more,
    }


def holding(schema: object, **more: Any) -> dict[str, Any]:
    return closed({"x": schema}, **more)


def nested(n_levels: int, leaf: object = STRING) -> dict[str, Any]:
    schema = leaf
    for _ in range(n_levels):
        schema = holding(schema)
    assert isinstance(schema, dict)
    return schema


def tagged(value: str, **more: Any) -> dict[str, Any]:
    return closed({"kind": {"type": "string", "const": value}, **more})


X = "In context=('properties', 'x'), "

FAULTS: list[tuple[Any, str]] = [
    # the root
    ({}, "schema must be a JSON Schema of 'type: \"object\"', got 'type: \"None\"'."),
    ({"type": "array"}, "schema must be a JSON Schema of 'type: \"object\"', got 'type: \"array\"'."),
    ({"anyOf": [closed({})]}, "schema must be a JSON Schema of 'type: \"object\"', got 'type: \"None\"'."),
    (closed({}, anyOf=[closed({})]), "In context=(), 'anyOf' is not permitted."),
    # objects
    ({"type": "object", "properties": {}}, f"In context=(), {CLOSED}"),
    ({**closed({}), "additionalProperties": True}, f"In context=(), {CLOSED}"),
    ({**closed({}), "additionalProperties": {}}, f"In context=(), {CLOSED}"),
    (holding({**closed({}), "additionalProperties": 0}), f"{X}{CLOSED}"),
    (holding({**closed({}), "type": ["object", "null"], "additionalProperties": True}), f"{X}{CLOSED}"),
    ({**holding(STRING), "required": []}, f"In context=(), {REQUIRED} Missing 'x'."),
    (
        {"type": "object", "properties": {"x": STRING}, "additionalProperties": False},
        f"In context=(), {REQUIRED} Missing 'x'.",
    ),
    ({**closed({"a": STRING, "b": STRING, "c": STRING}), "required": ["c"]}, f"In context=(), {REQUIRED} Missing 'a'."),
    ({**holding(STRING), "required": ["x", "y"]}, f"In context=(), {REQUIRED} Extra required key 'y' supplied."),
    # a property that holds anything, or any map
    (holding({}), f"In context=(), {REQUIRED} Extra required key 'x' supplied."),
    (
        holding({"type": "object", "additionalProperties": STRING}),
        f"In context=(), {REQUIRED} Extra required key 'x' supplied.",
    ),
    # types
    (holding({"description": "d"}), f"{X}schema must have a 'type' key."),
    (holding({"enum": ["a"]}), f"{X}schema must have a 'type' key."),
    (holding(True), f"{X}schema must have a 'type' key."),
    (holding({"type": "date"}), f"{X}'date' is not a valid type."),
    (holding({"type": ["string", "text"]}), f"{X}'text' is not a valid type."),
    (holding({"type": 5}), f"{X}'type' must be a string or an array of strings."),
    # arrays
    (holding({"type": "array"}), f"{X}array schema missing items."),
    (holding({"type": ["array", "null"]}), f"{X}array schema missing items."),
    (
        holding({"type": "array", "items": {}}),
        "In context=('properties', 'x', 'items'), schema must have a 'type' key.",
    ),
    # keywords
    *(
        (holding({**STRING, keyword: 1}), f"{X}'{keyword}' is not permitted.")
        for keyword in [
            "allOf",
            "oneOf",
            "not",
            "if",
            "then",
            "else",
            "dependentRequired",
            "dependentSchemas",
            "default",
            "patternProperties",
            "unevaluatedProperties",
            "propertyNames",
            "minProperties",
            "maxProperties",
            "contains",
            "minContains",
            "maxContains",
            "uniqueItems",
            "unevaluatedItems",
            "minLength",
            "maxLength",
            "examples",
            "$id",
            "x-order",
        ]
    ),
    (holding({**STRING, "k" * 99: 1}), f"{X}'{'k' * 64}...' is not permitted."),
    (holding({**STRING, "format": "uri"}), f"{X}'uri' is not a valid format."),
    (holding({**STRING, "pattern": 1}), f"{X}'pattern' must be a string."),
    (holding({"type": "number", "multipleOf": 0}), f"{X}'multipleOf' must be a number above 0."),
    (holding({"type": "number", "minimum": True}), f"{X}'minimum' must be a number."),
    (holding({"type": "array", "items": STRING, "minItems": -1}), f"{X}'minItems' must be a non-negative integer."),
    (holding({**STRING, "enum": []}), f"{X}'enum' must be an array with at least one item."),
    (holding({"anyOf": []}), f"{X}'anyOf' must be an array with at least one item."),
    ({**closed({}), "properties": []}, "In context=(), 'properties' must be an object."),
    ({**closed({}), "required": [1]}, "In context=(), 'required' must be an array of strings."),
    # references
    (holding({"$ref": "#/$defs/a", "description": "d"}), f"{X}$ref cannot have keywords {{'description'}}."),
    *(
        (holding({"$ref": reference}, **{"$defs": {"a": STRING}}), f"{X}{NOT_AT_TOP}")
        for reference in (
            "#/$defs/b",
            "#/definitions/a",
            "#/properties/x",
            "#/$defs/a/b",
            "a",
            "$defs/a",
            "https://example.org/schema.json",
            "",
        )
    ),
    (
        closed({}, **{"$defs": {"a": {"$ref": "#/$defs/a"}}}),
        f"In context=('$defs', 'a'), {NOT_AT_TOP}",
    ),
    (
        holding({"$ref": "#/$defs/a"}, **{"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}),
        f"{X}{NOT_AT_TOP}",
    ),
    (
        holding(
            {"type": "object", "properties": {}, "$defs": {"a": STRING}, "additionalProperties": False}, definitions=[]
        ),
        "In context=(), 'definitions' must be an object.",
    ),
    # anyOf
    (
        holding({"anyOf": [STRING, {"type": "array"}]}),
        "In context=('properties', 'x', 'anyOf', '1'), array schema missing items.",
    ),
    (holding({"anyOf": [nested(1), holding({"type": "integer"})]}), f"{X}{SHARED}"),
    (holding({"anyOf": [tagged("a"), tagged("a", more=STRING)]}), f"{X}{SHARED}"),
    (
        holding({"anyOf": [{"$ref": "#/$defs/a"}, nested(1)]}, **{"$defs": {"a": nested(1)}}),
        f"{X}{SHARED}",
    ),
    (
        holding({"anyOf": [{"$ref": "#/$defs/a"}] * 40_000}, **{"$defs": {"a": tagged("a")}}),
        f"{X}{SHARED}",
    ),
    # document order: a schema before what stands in it, a property before the next
    (
        closed({"a": holding({"type": "array"}), "b": {"type": "array"}}),
        "In context=('properties', 'a', 'properties', 'x'), array schema missing items.",
    ),
    (
        {**closed({"a": {"type": "array"}}), "additionalProperties": True},
        f"In context=(), {CLOSED}",
    ),
    (
        closed({"a": STRING}, **{"$defs": {"d": {"type": "array"}}}),
        "In context=('$defs', 'd'), array schema missing items.",
    ),
    # limits
    (
        nested(11),
        f"In context={tuple(['properties', 'x'] * 10)!r}, 11 levels of nesting exceeds limit of 10.",
    ),
    (
        nested(9, {"type": "array", "items": nested(1)}),
        f"In context={(*['properties', 'x'] * 9, 'items')!r}, 11 levels of nesting exceeds limit of 10.",
    ),
    (
        closed({f"p{i}": STRING for i in range(5001)}),
        "In context=(), Too many object properties: 5001 exceeds limit of 5000.",
    ),
    (
        holding({"type": "integer", "enum": list(range(1001))}),
        "In context=(), Too many enum values: 1001 exceeds limit of 1000.",
    ),
    (
        holding({**STRING, "const": "c" * 120_000}),
        "In context=(), Too many characters in names and values: 120001 exceeds limit of 120000.",
    ),
    (
        closed({}, **{"$defs": {"d" * 120_001: STRING}}),
        "In context=(), Too many characters in names and values: 120001 exceeds limit of 120000.",
    ),
    (
        holding({**STRING, "enum": [f"{i:060}" for i in range(251)]}),
        f"{X}Too many characters in one enum: 15060 exceeds limit of 15000.",
    ),
]


@pytest.mark.parametrize(("schema", "fault"), FAULTS)
def test_the_first_fault_is_told(schema: dict[str, Any], fault: str) -> None:
    assert find_fault(schema) == fault


@pytest.mark.parametrize("n_levels", [200, 400])
def test_what_is_far_too_deep_is_told_at_the_root(n_levels: int) -> None:
    fault = find_fault(nested(n_levels))
    assert fault == f"In context=(), {2 * n_levels + 1} levels of nesting exceeds limit of 256."


ACCEPTED: list[Any] = [
    closed({}),
    {"type": "object", "additionalProperties": False},
    closed({"a": STRING}, title="t", description="d", **{"$schema": "http://json-schema.org/draft-07/schema#"}),
    holding({"type": ["string", "null"]}),
    holding({**STRING, "enum": ["a", "b"], "description": "d"}),
    holding({"type": "integer", "const": 5}),
    *(
        holding({**STRING, "format": name})
        for name in ["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"]
    ),
    holding({**STRING, "pattern": "^a+$"}),
    holding({"type": "number", "multipleOf": 0.5, "minimum": -1, "maximum": 1e9}),
    holding({"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 10}),
    holding({"type": "array", "items": STRING, "minItems": 0, "maxItems": 3}),
    holding({"anyOf": [STRING, {"type": "null"}, {"type": "array", "items": closed({})}]}),
    holding({"anyOf": [tagged("a", more=STRING), tagged("b"), closed({"other": STRING})]}),
    holding(
        {
            "anyOf": [
                closed({"id": STRING, "kind": {**STRING, "enum": ["a", "b"]}}),
                closed({"id": STRING, "kind": {**STRING, "const": "c"}}),
            ]
        }
    ),
    holding(
        {
            "anyOf": [
                closed({"one": {"type": "integer", "const": 1}}),
                closed({"one": {"type": "boolean", "const": True}}),
            ]
        }
    ),
    closed({"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}),
    holding(
        {"$ref": "#/$defs/a"}, **{"$defs": {"a": {"$ref": "#/$defs/b"}, "b": closed({"c": {"$ref": "#/$defs/b"}})}}
    ),
    holding({"$ref": "#/definitions/a~1b~0c"}, definitions={"a/b~c": STRING}),
    nested(10),
    nested(9, {"type": "array", "items": STRING}),
    closed({f"p{i}": STRING for i in range(5000)}),
    holding({"type": "integer", "enum": list(range(1000))}),
    holding({**STRING, "enum": [f"{i:060}" for i in range(250)]}),
    holding({**STRING, "const": "c" * 119_999}),
]


@pytest.mark.parametrize("schema", ACCEPTED)
def test_accepted(schema: dict[str, Any]) -> None:
    assert find_fault(schema) is None


def test_schemas_of_the_official_client_are_accepted() -> None:
    class Leaf(BaseModel):
        value: float | None
        tags: list[str]

    class Tree(BaseModel):
        left: Tree | None
        leaf: Leaf
        note: str

    assert find_fault(to_strict_json_schema(Tree)) is None


scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.sampled_from(["object", "array", "#"])
keywords = st.sampled_from([*KEYWORDS, "x", "oneOf"])
schemas = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keywords, inner, max_size=5), max_leaves=12
)


@given(schemas)
def test_any_json_is_accepted_or_refused(inner: object) -> None:
    for schema in (holding(inner), closed({}, **{"$defs": inner}), {"type": "object", **_as_object(inner)}):
        fault = find_fault(schema)
        assert fault is None or (fault and json.dumps(fault))


def _as_object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {"properties": value}
