"""Messages and tools with a mark in every string of the client's, so that `marks` can tell them from the template's text.

Templates look into what they are given: a schema's `type`, whether a name is in `required`. So words of JSON Schema stay
what they are where JSON Schema has them, and everything else is marked, equal strings alike.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from completionist.local.marks import Marks

_KEYWORDS = frozenset(
    re.findall(
        r"[$\w]+",
        """
        $anchor $defs $id $ref $schema additionalProperties allOf anyOf const contains default definitions
        dependentRequired dependentSchemas deprecated description else enum example examples exclusiveMaximum
        exclusiveMinimum format if items maxContains maxItems maxLength maxProperties maximum minContains minItems
        minLength minProperties minimum multipleOf not nullable oneOf pattern patternProperties prefixItems properties
        propertyNames readOnly required strict then title type unevaluatedItems unevaluatedProperties uniqueItems
        writeOnly
        """,
    )
)
_MAPS_OF_SCHEMAS = frozenset({"properties", "patternProperties", "dependentSchemas", "$defs", "definitions"})
"""Keywords whose value has names of the client's for keys."""
_TYPES = frozenset({"string", "number", "integer", "boolean", "null", "object", "array"})


def marked_message(message: Mapping[str, Any], marks: Marks) -> Mapping[str, Any]:
    """`message` as `dialects.history.Turn.as_message` made it."""
    marked = {key: marks.mark(value) if isinstance(value, str) else value for key, value in message.items()}
    marked["role"] = message["role"]
    if "tool_calls" in message:
        marked["tool_calls"] = [_marked_call(call, marks.mark) for call in message["tool_calls"]]
    return marked


def marked_tool(tool: Mapping[str, Any], marks: Marks) -> Mapping[str, Any]:
    """`tool` as `dialects.offer.described` made it."""
    function = tool["function"]
    return {
        **tool,
        "function": {
            "name": marks.mark(function["name"]),
            "description": marks.mark(function["description"]),
            "parameters": _marked_schema(function["parameters"], marks.mark),
        },
    }


def _marked_call(call: Mapping[str, Any], mark: Callable[[str], str]) -> Mapping[str, Any]:
    function = call["function"]
    called = {"name": mark(function["name"]), "arguments": _marked(function["arguments"], mark)}
    return {**call, "id": mark(call["id"]), "function": called}


def _marked_schema(schema: object, mark: Callable[[str], str]) -> object:
    if not isinstance(schema, Mapping):
        return _marked(schema, mark)
    return {key if key in _KEYWORDS else mark(key): _marked_value(key, value, mark) for key, value in schema.items()}


def _marked_value(keyword: str, value: object, mark: Callable[[str], str]) -> object:
    match value:
        case str():
            return value if keyword == "type" and value in _TYPES else mark(value)
        case list() if keyword == "type":
            return [_marked_value(keyword, item, mark) for item in value]
        case list() if keyword in _KEYWORDS:
            return [_marked_schema(item, mark) for item in value]
        case Mapping() if keyword in _MAPS_OF_SCHEMAS:
            return {mark(name): _marked_schema(item, mark) for name, item in value.items()}
        case Mapping() if keyword in _KEYWORDS:
            return _marked_schema(value, mark)
        case _:
            return _marked(value, mark)


def _marked(value: object, mark: Callable[[str], str]) -> object:
    match value:
        case str():
            return mark(value)
        case list():
            return [_marked(item, mark) for item in value]
        case Mapping():
            return {mark(key): _marked(item, mark) for key, item in value.items()}
        case _:
            return value
