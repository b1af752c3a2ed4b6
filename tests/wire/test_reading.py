"""What an installation may read more leniently (contract 12, rows 2 and 5), and what a model does not know (2.4)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import openai
import pytest

from completionist.errors import APIError
from completionist.settings import ServerSettings
from completionist.types.request import NOT_NULLABLE, ChatRequest, Draft, Reading
from tests.conftest import Serve
from tests.support.ask import ask
from tests.support.server import SETTINGS
from tests.wire.bodies import HELLO, body, chat, read, refusal

NULLS = Reading(takes_null_fields=True)
SILENCE = Reading(takes_missing_content=True)
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def request_of(sent: dict[str, Any], reading: Reading) -> ChatRequest:
    return Draft.read(json.dumps(sent).encode()).request(reading)


def test_the_fields_are_those_that_the_contract_lists() -> None:
    assert {
        "tools", "tool_choice", "response_format", "user", "parallel_tool_calls", "prompt_cache_options",
        "web_search_options", "functions", "function_call",
    } == NOT_NULLABLE  # fmt: skip


@pytest.mark.parametrize("field", sorted(NOT_NULLABLE))
def test_null_is_not_given_where_the_operator_says_so(field: str) -> None:
    assert refusal(body(**{field: None})).code == "invalid_type"
    assert request_of(body(**{field: None}), NULLS) == read(body())


def test_messages_are_never_null() -> None:
    with pytest.raises(APIError) as caught:
        request_of({"model": "m", "messages": None}, NULLS)
    assert caught.value.param == "messages"


@pytest.mark.parametrize("message", [{"role": "user"}, {"role": "assistant"}])
@pytest.mark.parametrize("content", [{}, {"content": None}])
def test_users_and_assistants_may_say_nothing_where_the_operator_says_so(
    message: dict[str, Any], content: dict[str, Any]
) -> None:
    sent = chat(HELLO, {**message, **content})
    refusal(sent)
    assert request_of(sent, SILENCE).messages[1].content == ""


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "system"}, "messages[0].content"),
        ({"role": "developer", "content": None}, "messages.[0].content"),
        ("hello", "messages[0]"),
    ],
)
def test_nobody_else_may(message: object, param: str) -> None:
    with pytest.raises(APIError) as caught:
        request_of(chat(message), SILENCE)
    assert caught.value.param == param


def test_what_stands_in_for_content_stays_as_it_is() -> None:
    sent = chat({"role": "assistant", "tool_calls": [CALL]}, {"role": "tool", "tool_call_id": "c", "content": "4"})
    assert request_of(sent, SILENCE) == read(sent)


def test_a_field_that_the_model_does_not_know_is_found_before_any_other_fault() -> None:
    reading = Reading(unknown={"m": frozenset({"audio"})})
    with pytest.raises(APIError) as caught:
        request_of(chat(audio=None, n=0), reading)
    assert (caught.value.error_code, caught.value.param) == ("unknown_parameter", "audio")
    assert request_of({**body(audio=None), "model": "other"}, reading).model == "other"


def test_the_settings_reach_small_and_large_bodies(serve: Serve, client_of: Callable[..., openai.OpenAI]) -> None:
    lenient = ServerSettings(port=0, drain_timeout_s=0, takes_null_fields=True, takes_missing_content=True)
    client = client_of(serve(settings=SETTINGS.model_copy(update={"server": lenient})))
    silent: list[Any] = [{"role": "assistant"}, {"role": "user", "content": None}]
    assert ask(client, tools=None, user=None, messages=silent).choices[0].finish_reason == "stop"
    with pytest.raises(openai.BadRequestError) as too_long:  # it was read, by another process, and is too long to run
        ask(client, tools=None, user=None, messages=[{"role": "user", "content": "x" * 100_000}, *silent])
    assert too_long.value.code == "context_length_exceeded"
