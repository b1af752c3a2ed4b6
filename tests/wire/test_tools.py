"""Tools, functions and the choice among them; response formats (contract, sections 4.1, 4.2, 4.4, 4.5, 7.1)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from completionist.types.formats import JSONSchemaFormat, JSONSchemaResponse
from completionist.types.tools import (
    Allowance,
    AllowedTools,
    CustomDefinition,
    CustomTool,
    FunctionDefinition,
    FunctionTool,
    Grammar,
    GrammarFormat,
    Named,
    NamedCustom,
    NamedFunction,
    TextFormat,
)
from tests.wire.bodies import (
    Refusal,
    body,
    empty_array,
    empty_string,
    missing,
    pattern,
    read,
    refusal,
    too_long,
    unknown,
    wrong_type,
    wrong_value,
)

FUNCTION = {"type": "function", "function": {"name": "f"}}
CUSTOM = {"type": "custom", "custom": {"name": "c"}}
AT = "tools[1].function"


def function(**keys: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", **keys}}


def custom(**keys: Any) -> dict[str, Any]:
    return {"type": "custom", "custom": {"name": "c", **keys}}


def bad_schema(fault: str) -> Refusal:
    return Refusal("invalid_function_parameters", f"{AT}.parameters", f"Invalid schema for function 'f': {fault}")


def root(kind: str) -> str:
    return f"schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{kind}\"'."


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"x": schema}}
    return schema


ARRAY = {"type": "array"}
KINDS = "array, boolean, integer, null, number, object, string"


@pytest.mark.parametrize(
    ("tool", "expected"),
    [
        ("x", wrong_type("tools[1]", "an object", "a string")),
        ({}, missing("tools[1].type")),
        ({"type": "web"}, wrong_value("tools[1].type", "web", "'function' and 'custom'")),
        ({"type": "function"}, missing(AT)),
        ({"type": "function", "function": 1}, wrong_type(AT, "an object", "an integer")),
        ({"type": "function", "function": {}}, missing(f"{AT}.name")),
        ({**FUNCTION, "strict": True}, unknown("tools[1].strict")),
        (function(name=""), empty_string(f"{AT}.name")),
        (function(name="a b"), pattern(f"{AT}.name")),
        (function(name="n" * 65), too_long(f"{AT}.name", 64, 65)),
        (function(name=1), wrong_type(f"{AT}.name", "a string", "an integer")),
        (function(description=1), wrong_type(f"{AT}.description", "a string", "an integer")),
        (function(strict="yes"), wrong_type(f"{AT}.strict", "a boolean", "a string")),
        (function(returns={}), unknown(f"{AT}.returns")),
        (function(parameters=[]), wrong_type(f"{AT}.parameters", "an object", "an array")),
        (function(parameters=None), wrong_type(f"{AT}.parameters", "an object", "null")),
        (function(parameters={"type": "string"}), bad_schema(root("string"))),
        (function(parameters={"type": None}), bad_schema(root("None"))),
        (function(parameters={}, strict=True), bad_schema(root("None"))),
        *(
            (function(parameters={"properties": {"p": given}}), bad_schema(f"In context=('properties', 'p'), {tail}"))
            for given, tail in (
                ({"type": "any"}, f"'type' must be one of {KINDS}, or an array of them."),
                ({"type": ["string", "text"]}, f"'type' must be one of {KINDS}, or an array of them."),
                ({"type": "string", "required": True}, "'required' must be an array of strings."),
                ({"enum": "a"}, "'enum' must be an array."),
                ({"anyOf": []}, "'anyOf' must be an array of schemas."),
                ({"properties": {"q": "string"}}, "'properties' must be an object of schemas."),
                ({"items": 1}, "'items' must be a schema."),
                ({"type": "string", "maxLength": -1}, "'maxLength' must be a non-negative integer."),
                ({"description": None}, "'description' must be a string."),
            )
        ),
        (function(parameters={"required": "p"}), bad_schema("In context=(), 'required' must be an array of strings.")),
        (
            function(parameters={"properties": {"p": ARRAY}}),
            bad_schema("In context=('properties', 'p'), array schema missing items."),
        ),
        (
            function(parameters={"$defs": {"d": {"anyOf": [{}, ARRAY]}}, "properties": {"p": ARRAY}}),
            bad_schema("In context=('$defs', 'd', 'anyOf', '1'), array schema missing items."),
        ),
        (
            function(parameters={"properties": {"p": {"type": "array", "items": ARRAY}}}),
            bad_schema("In context=('properties', 'p', 'items'), array schema missing items."),
        ),
        (function(parameters=nested(200)), bad_schema("In context=(), 401 levels of nesting exceeds limit of 256.")),
        (
            function(parameters={"type": [nested(200)]}),
            bad_schema("In context=(), 403 levels of nesting exceeds limit of 256."),
        ),
        (function(parameters={"type": ["t" * 99]}), bad_schema(root("['" + "t" * 62 + "..."))),
        # custom
        ({"type": "custom"}, missing("tools[1].custom")),
        ({"type": "custom", "custom": {}}, missing("tools[1].custom.name")),
        (custom(name="c d"), pattern("tools[1].custom.name")),
        (custom(format={}), missing("tools[1].custom.format.type")),
        (custom(format={"type": "json"}), wrong_value("tools[1].custom.format.type", "json", "'text' and 'grammar'")),
        (custom(format={"type": "grammar"}), missing("tools[1].custom.format.grammar")),
        (
            custom(format={"type": "grammar", "syntax": "lark", "definition": "x", "grammar": {"definition": "x"}}),
            missing("tools[1].custom.format.grammar.syntax"),
        ),
        (
            custom(format={"type": "grammar", "grammar": {"syntax": "gbnf", "definition": "x"}}),
            wrong_value("tools[1].custom.format.grammar.syntax", "gbnf", "'lark' and 'regex'"),
        ),
        (
            custom(format={"type": "grammar", "grammar": {"syntax": "lark"}}),
            missing("tools[1].custom.format.grammar.definition"),
        ),
        (
            custom(format={"type": "grammar", "grammar": {"syntax": "lark", "definition": ""}}),
            empty_string("tools[1].custom.format.grammar.definition"),
        ),
    ],
)
def test_refused_tools(tool: object, expected: Refusal) -> None:
    assert refusal(body(tools=[FUNCTION, tool])) == expected


def test_frozen_tools() -> None:
    schema = {"type": "object", "properties": {"x": {"type": "array", "items": {}}}, "x-note": [None]}
    grammar = {"type": "grammar", "grammar": {"syntax": "regex", "definition": "a+"}}
    tools = [
        function(description="d", parameters=schema, strict=None),
        function(parameters={}, strict=False),
        custom(format={"type": "text"}, description="d"),
        custom(format=grammar),
    ]
    assert read(body(tools=tools)).tools == (
        FunctionTool(function=FunctionDefinition(name="f", description="d", parameters=schema)),
        FunctionTool(function=FunctionDefinition(name="f", parameters={}, strict=False)),
        CustomTool(custom=CustomDefinition(name="c", description="d", format=TextFormat())),
        CustomTool(
            custom=CustomDefinition(name="c", format=GrammarFormat(grammar=Grammar(syntax="regex", definition="a+")))
        ),
    )


def test_an_unlimited_description_and_128_tools_of_one_name() -> None:
    assert len(read(body(tools=[function(description="d" * 5_000)] * 128)).tools or ()) == 128


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({}, missing("functions[0].name")),
        ({"name": "a b"}, pattern("functions[0].name")),
        ({"name": "f", "strict": True}, unknown("functions[0].strict")),
        (
            {"name": "f", "parameters": {"type": "array"}},
            Refusal(
                "invalid_function_parameters",
                "functions[0].parameters",
                f"Invalid schema for function 'f': {root('array')}",
            ),
        ),
    ],
)
def test_refused_functions(entry: object, expected: Refusal) -> None:
    assert refusal(body(functions=[entry])) == expected


def allowed(**keys: object) -> dict[str, Any]:
    return {"type": "allowed_tools", "allowed_tools": keys}


ALLOWED_AT = "tool_choice.allowed_tools"


def not_found(name: str) -> Refusal:
    return Refusal(None, "tool_choice", f"Tool choice '{name}' not found in 'tools' parameter.")


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("any", wrong_value("tool_choice", "any", "'none', 'auto', and 'required'")),
        (True, wrong_type("tool_choice", "one of one of 'none', 'auto', or 'required' or object", "a boolean")),
        ({}, missing("tool_choice.function")),
        ({"type": "function"}, missing("tool_choice.function")),
        ({"type": "magic"}, missing("tool_choice.function")),
        ({"type": ["custom"]}, missing("tool_choice.function")),
        ({"type": "custom"}, missing("tool_choice.custom")),
        ({"type": "custom", "function": {"name": "f"}}, missing("tool_choice.custom")),
        ({"type": "allowed_tools"}, missing(ALLOWED_AT)),
        ({"function": {"name": "f"}}, missing("tool_choice.type")),
        (
            {"type": "magic", "function": {"name": "f"}},
            wrong_value("tool_choice.type", "magic", "'function', 'custom', and 'allowed_tools'"),
        ),
        ({"type": "function", "function": {}}, missing("tool_choice.function.name")),
        (
            {"type": "function", "function": {"name": 1}},
            wrong_type("tool_choice.function.name", "a string", "an integer"),
        ),
        ({"type": "function", "function": {"name": "g"}}, not_found("g")),
        ({"type": "custom", "custom": {"name": "g"}}, not_found("g")),
        ({"type": "custom", "custom": {"name": "f"}}, not_found("f")),
        ({"type": "function", "function": {"name": "c"}}, not_found("c")),
        (allowed(tools=[FUNCTION]), missing(f"{ALLOWED_AT}.mode")),
        (allowed(mode="auto"), missing(f"{ALLOWED_AT}.tools")),
        (allowed(mode="auto", tools=[]), empty_array(f"{ALLOWED_AT}.tools")),
        (allowed(mode="none", tools=[FUNCTION]), wrong_value(f"{ALLOWED_AT}.mode", "none", "'auto' and 'required'")),
        (allowed(mode="auto", tools=[{"type": "function"}]), missing(f"{ALLOWED_AT}.tools[0].function")),
        (
            allowed(mode="auto", tools=[FUNCTION, {"type": "function", "function": {"name": "g"}}]),
            not_found("g"),
        ),
    ],
)
def test_refused_choices(choice: object, expected: Refusal) -> None:
    assert refusal(body(tools=[FUNCTION, CUSTOM], tool_choice=choice)) == expected


@pytest.mark.parametrize(
    ("choice", "frozen"),
    [
        ("none", "none"),
        ("auto", "auto"),
        ("required", "required"),
        (FUNCTION, NamedFunction(function=Named(name="f"))),
        (CUSTOM, NamedCustom(custom=Named(name="c"))),
        (
            allowed(mode="required", tools=[function(description="d", parameters={}, strict=True), CUSTOM]),
            AllowedTools(
                allowed_tools=Allowance(
                    mode="required",
                    tools=(NamedFunction(function=Named(name="f")), NamedCustom(custom=Named(name="c"))),
                )
            ),
        ),
    ],
)
def test_frozen_choices(choice: object, frozen: object) -> None:
    assert read(body(tools=[FUNCTION, CUSTOM], tool_choice=choice)).tool_choice == frozen


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("required", wrong_value("function_call", "required", "'none' and 'auto'")),
        ({}, missing("function_call.name")),
        ({"name": "f", "x": 1}, unknown("function_call.x")),
        ({"name": "g"}, Refusal(None, "function_call", "Function call 'g' not found in 'functions' parameter.")),
    ],
)
def test_refused_function_calls(choice: object, expected: Refusal) -> None:
    assert refusal(body(functions=[{"name": "f"}], function_call=choice)) == expected


def test_a_function_may_be_called_by_name() -> None:
    assert read(body(functions=[{"name": "f"}], function_call={"name": "f"})).function_call == Named(name="f")


FORMAT = "response_format"
SCHEMA_AT = f"{FORMAT}.json_schema"


def by_schema(**keys: object) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": keys}


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("text", wrong_type(FORMAT, "an object", "a string")),
        ({}, missing(f"{FORMAT}.type")),
        *(
            ({"type": kind}, wrong_value(f"{FORMAT}.type", kind, "'json_object', 'json_schema', and 'text'"))
            for kind in ("xml", "grammar", "python")
        ),
        ({"type": "text", "x": 1}, unknown(f"{FORMAT}.x")),
        ({"type": "json_schema"}, missing(SCHEMA_AT)),
        (by_schema(), missing(f"{SCHEMA_AT}.name")),
        (by_schema(name="a b"), pattern(f"{SCHEMA_AT}.name")),
        (by_schema(name="a" * 65), too_long(f"{SCHEMA_AT}.name", 64, 65)),
        (by_schema(name="a", strict=True), missing(f"{SCHEMA_AT}.schema")),
        (by_schema(name="a", strict=1), wrong_type(f"{SCHEMA_AT}.strict", "a boolean", "an integer")),
        (by_schema(name="a", schema="x"), wrong_type(f"{SCHEMA_AT}.schema", "an object", "a string")),
        (by_schema(name="a", schema=None), wrong_type(f"{SCHEMA_AT}.schema", "an object", "null")),
        (
            by_schema(name="a", schema={"type": "array"}),
            Refusal(None, FORMAT, f"Invalid schema for response_format 'a': {root('array')}"),
        ),
        (
            by_schema(name="a", schema={}, strict=True),
            Refusal(None, FORMAT, f"Invalid schema for response_format 'a': {root('None')}"),
        ),
    ],
)
def test_refused_response_formats(sent: object, expected: Refusal) -> None:
    assert refusal(body(response_format=sent)) == expected


def test_a_schema_stays_as_it_was_sent() -> None:
    schema = {"type": "object", "properties": {"b": {"const": 1.5}, "a": {"enum": [None, "x", {"y": []}]}}}
    request = read(body(response_format=by_schema(name="n", description="d", schema=schema, strict=None)))
    assert request.response_format == JSONSchemaResponse(
        json_schema=JSONSchemaFormat(name="n", description="d", schema=schema)
    )
    assert isinstance(request.response_format, JSONSchemaResponse)
    assert json.dumps(request.response_format.json_schema.schema) == json.dumps(schema)
