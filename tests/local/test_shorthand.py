"""The form in which a model reads a schema."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.lib._pydantic import to_strict_json_schema
from pydantic import BaseModel, Field

from completionist.local.shorthand import shorthand

STRING = {"type": "string"}


def an_object(properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), **more}


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": "string"}, "string"),
        ({}, "any"),
        ({"type": ["integer", "null"]}, "integer | null"),
        ({"type": "integer", "minimum": 1, "maximum": 400}, "integer (minimum 1, maximum 400)"),
        ({"type": "string", "pattern": '^"a'}, 'string (pattern "^\\"a")'),
        ({"type": "string", "description": 'A "name".'}, 'string ("A \\"name\\".")'),
        ({"type": "string", "enum": ["a", "b c"]}, '"a" | "b c"'),
        ({"enum": [1, None, True]}, "1 | null | true"),
        ({"const": {"a": []}}, '{"a":[]}'),
        ({"anyOf": [STRING, {"type": "null"}], "description": "d"}, 'string | null ("d")'),
        ({"type": "array"}, "array"),
        (
            {"type": "array", "items": STRING | {"maxLength": 2}, "maxItems": 3},
            "[string (maxLength 2), ...] (maxItems 3)",
        ),
        ({"type": "object"}, "object"),
        ({"type": "object", "additionalProperties": {"type": "number"}}, "{string: number, ...}"),
        (an_object({"a": STRING}), '{"a": string}'),
        (an_object({"a": STRING}, required=[]), '{"a"?: string}'),
        (an_object({"a": an_object({"b c": STRING})}, additionalProperties=False), '{"a": {"b c": string}}'),
        (
            an_object({"ship_name": {"type": "string", "title": "Ship Name"}}, title="Ship"),
            '{"ship_name": string} ("Ship")',
        ),
        (
            an_object({"next": {"$ref": "#/$defs/Node"}}) | {"$defs": {"Node": an_object({"value": STRING})}},
            '{"next": Node}\nNode: {"value": string}',
        ),
    ],
)
def test_forms(schema: dict[str, Any], text: str) -> None:
    assert shorthand(schema) == text


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "patternProperties": {"a": {}}},
        {"allOf": [STRING]},
        {"type": "string", "not": {"const": "a"}},
        {"type": "array", "items": True},
        {"type": "array", "prefixItems": [STRING]},
        {"properties": {"a": STRING}},
        an_object({"a": STRING}, additionalProperties=STRING),
        {"$ref": "#"},
        {"$ref": "https://example.com/schema"},
        {"$ref": 3},
        {"anyOf": [STRING], "type": "string"},
        {"anyOf": []},
        {"enum": "a"},
        {"type": "text"},
        {"type": [{}]},
        {"type": "object", "properties": []},
        {"type": "object", "properties": {"a": 1}},
        an_object({"a": STRING}, required=None),
        an_object({"a": STRING}, required=["a", "b"]),
        {"type": "object", "required": ["b"]},
        {"$defs": {"a b": STRING}},
        {"$defs": 1},
        an_object({"a": {"$defs": {"b": STRING}, "type": "string"}}),
    ],
)
def test_what_this_form_cannot_tell_has_none(schema: dict[str, Any]) -> None:
    assert shorthand(schema) is None


def test_no_depth_hurts() -> None:
    schema: dict[str, Any] = {}
    for _ in range(100_000):
        schema = {"type": "array", "items": schema}
    assert shorthand(schema) is None


class Berth(BaseModel):
    quay: str = Field(description="North or south")
    depth_m: float | None


class Ship(BaseModel):
    ship_name: str
    berths: list[Berth]


def test_what_the_client_makes_of_classes_has_a_form() -> None:
    assert shorthand(to_strict_json_schema(Ship)) == (
        '{"ship_name": string, "berths": [Berth, ...]} ("Ship")\n'
        'Berth: {"quay": string ("North or south"), "depth_m": number | null}'
    )


KEYWORDS = st.sampled_from(
    [
        "type",
        "properties",
        "required",
        "items",
        "enum",
        "const",
        "anyOf",
        "$ref",
        "$defs",
        "additionalProperties",
        "title",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYWORDS, inner, max_size=4),
    max_leaves=20,
)


@given(schema=st.dictionaries(KEYWORDS, JSON, max_size=4))
def test_anything_has_a_form_or_none(schema: dict[str, Any]) -> None:
    text = shorthand(json.loads(json.dumps(schema)))
    assert text is None or text
