"""The published document: served, valid, and as strict as the code that it describes."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from completionist.api.openapi import document, request_schema
from completionist.api.routes import ROUTES
from completionist.errors import InvalidRequest
from completionist.types.request import ChatRequest
from tests.support.server import RunningServer
from tests.wire.bodies import HELLO, body, chat, read
from tests.wire.test_fields import with_field
from tests.wire.test_good_values import GOOD_VALUES

REQUEST = Draft202012Validator(request_schema())


def test_it_is_served_to_everyone(server: RunningServer) -> None:
    with urllib.request.urlopen(f"{server.url}/openapi.json") as answer:
        assert answer.headers["content-type"] == "application/json"
        assert json.load(answer) == document(ROUTES)


def test_it_names_every_route_and_every_field() -> None:
    published = document(ROUTES)
    named = {(method.upper(), path) for path, methods in published["paths"].items() for method in methods}
    assert named == {(route.method, route.path.replace(":path}", "}")) for route in ROUTES}
    assert set(published["components"]["schemas"]["ChatRequest"]["properties"]) == set(ChatRequest.__struct_fields__)


def test_its_schemas_are_schemas() -> None:
    for schema in document(ROUTES)["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, value, _ in GOOD_VALUES])
def test_what_is_read_is_described(field: str, value: object) -> None:
    sent = with_field(field, value)
    read(sent)
    assert [error.message for error in REQUEST.iter_errors(sent)] == []


CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "x": 1}}}
BREAK = {"type": "text", "text": "x", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}}


@pytest.mark.parametrize(
    "sent",
    [
        chat({"role": "user", "content": [BREAK]}, {"role": "assistant", "content": None, "refusal": "no"}),
        chat({"role": "assistant", "tool_calls": [CALL]}, {"role": "tool", "tool_call_id": "c", "content": "4"}),
        body(tools=[TOOL], tool_choice={"type": "function", "function": {"name": "f"}}, parallel_tool_calls=False),
        body(functions=[{"name": "f"}], function_call="auto"),
    ],
)
def test_conversations_and_tools_that_are_read_are_described(sent: dict[str, Any]) -> None:
    read(sent)
    assert [error.message for error in REQUEST.iter_errors(sent)] == []


@pytest.mark.parametrize(
    "sent",
    [
        body(invented=1),
        body(n=0),
        body(n=129),
        body(n=True),
        body(temperature=2.1),
        body(stop=[]),
        body(stop=["a"] * 5),
        body(service_tier="slow"),
        body(metadata={"a": 1}),
        body(metadata={str(i): "x" for i in range(17)}),
        body(tools=[]),
        body(tools=[{"type": "function"}]),
        body(prompt_cache_options={"mode": "often"}),
        body(response_format={"type": "xml"}),
        chat({**HELLO, "invented": 1}),
        chat({"role": "wizard", "content": "x"}),
        chat({"role": "user"}),
        chat(),
    ],
)
def test_what_is_refused_is_not_described(sent: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        read(sent)
    assert not REQUEST.is_valid(sent)
