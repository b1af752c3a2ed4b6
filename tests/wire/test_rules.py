"""Rules between fields (contract, sections 2.5, 7.5, 8.1, 8.5) and the order of checks (section 2.3)."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from completionist.types.request import FIELDS, ChatRequest
from tests.wire.bodies import HELLO, Refusal, body, chat, missing, read, refusal, unknown

TOOLS = [{"type": "function", "function": {"name": "f"}}]
FUNCTIONS = [{"name": "f"}]
GUESS = {"type": "content", "content": "x"}
SPOKEN = {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "pcm16"}}
JSON_MODE = {"type": "json_object"}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}


def together(param: str, other: str) -> Refusal:
    text = f"Setting '{param}' and '{other}' at the same time is not supported."
    return Refusal("invalid_parameter_combination", param, text)


def needs(param: str, enabler: str) -> Refusal:
    return Refusal(None, param, f"The '{param}' parameter is only allowed when '{enabler}' is enabled.")


def needs_tools(param: str, tools: str = "tools") -> Refusal:
    text = f"Invalid value for '{param}': '{param}' is only allowed when '{tools}' are specified."
    return Refusal(None, param, text)


def not_with_prediction(param: str) -> Refusal:
    return Refusal(None, param, f"The '{param}' parameter is not supported when using 'prediction'.")


NO_JSON_WORD = Refusal(
    None,
    "messages",
    "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"max_tokens": 1, "max_completion_tokens": 1}, together("max_tokens", "max_completion_tokens")),
        ({"functions": FUNCTIONS, "tools": TOOLS}, together("functions", "tools")),
        ({"stream_options": {}}, needs("stream_options", "stream")),
        ({"stream_options": {}, "stream": False}, needs("stream_options", "stream")),
        ({"stream_options": {}, "stream": None}, needs("stream_options", "stream")),
        ({"top_logprobs": 0}, needs("top_logprobs", "logprobs")),
        ({"top_logprobs": 3, "logprobs": False}, needs("top_logprobs", "logprobs")),
        ({"tool_choice": "none"}, needs_tools("tool_choice")),
        ({"tool_choice": "auto"}, needs_tools("tool_choice")),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, needs_tools("tool_choice")),
        ({"tool_choice": "auto", "functions": FUNCTIONS}, needs_tools("tool_choice")),
        ({"parallel_tool_calls": True}, needs_tools("parallel_tool_calls")),
        ({"function_call": "auto"}, needs_tools("function_call", "functions")),
        ({"function_call": "auto", "tools": TOOLS}, needs_tools("function_call", "functions")),
        ({"modalities": ["audio"]}, missing("audio")),
        ({"modalities": ["text", "audio"], "audio": None}, missing("audio")),
        (
            {**SPOKEN, "audio": {"voice": "alloy", "format": "mp3"}, "stream": True},
            Refusal(
                "unsupported_value",
                "audio.format",
                "Unsupported value: 'audio.format' does not support 'mp3' when stream=true. "
                "Supported values are: 'pcm16'.",
            ),
        ),
        (
            {**SPOKEN, "logprobs": True},
            Refusal(None, "logprobs", "The 'logprobs' parameter is not supported when using audio output."),
        ),
        (
            {**SPOKEN, "response_format": SCHEMA},
            Refusal(
                "invalid_value",
                "response_format",
                "The 'response_format' parameter is not supported when using audio output.",
            ),
        ),
        ({"response_format": JSON_MODE}, NO_JSON_WORD),
        ({"prediction": GUESS, "n": 2}, not_with_prediction("n")),
        ({"prediction": GUESS, "logprobs": True}, not_with_prediction("logprobs")),
        ({"prediction": GUESS, "presence_penalty": 0.1}, not_with_prediction("presence_penalty")),
        ({"prediction": GUESS, "frequency_penalty": 1}, not_with_prediction("frequency_penalty")),
        ({"prediction": GUESS, **SPOKEN}, not_with_prediction("modalities")),
        ({"prediction": GUESS, "audio": SPOKEN["audio"]}, not_with_prediction("audio")),
        ({"prediction": GUESS, "max_completion_tokens": 1}, not_with_prediction("max_completion_tokens")),
        ({"prediction": GUESS, "tools": TOOLS}, not_with_prediction("tools")),
    ],
)
def test_refused(fields: dict[str, Any], expected: Refusal) -> None:
    assert refusal(body(**fields)) == expected


@pytest.mark.parametrize(
    "fields",
    [
        {"max_tokens": 1, "max_completion_tokens": None},
        {"top_logprobs": None},
        {"stream_options": None},
        {"stream": True, "stream_options": {"include_usage": True}},
        {"logprobs": True, "top_logprobs": 20},
        {"metadata": {"a": "b"}},
        {"metadata": {"a": "b"}, "store": False},
        {"audio": {"voice": "alloy", "format": "mp3"}, "stream": True},
        {**SPOKEN, "stream": True},
        {**SPOKEN, "response_format": {"type": "text"}, "logprobs": False},
        {
            "prediction": GUESS,
            "n": 1,
            "logprobs": False,
            "presence_penalty": -1,
            "frequency_penalty": 0,
            "max_tokens": 3,
            "modalities": ["text"],
        },
        {"tools": TOOLS, "tool_choice": "none", "parallel_tool_calls": False},
    ],
)
def test_accepted(fields: dict[str, Any]) -> None:
    assert read(body(**fields)).model == "m"


@pytest.mark.parametrize(
    "message",
    [
        {"role": "system", "content": "answer in Json"},
        {"role": "assistant", "content": "xJSONx"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "as json"}]},
        {"role": "function", "name": "f", "content": "json"},
    ],
)
def test_json_mode_finds_the_word_anywhere(message: dict[str, Any]) -> None:
    assert read(chat(HELLO, message, response_format=JSON_MODE)).messages[1].role == message["role"]


def test_tool_definitions_do_not_bring_the_word() -> None:
    tools = [{"type": "function", "function": {"name": "json", "description": "json"}}]
    assert refusal(body(response_format=JSON_MODE, tools=tools)) == NO_JSON_WORD


# In the order of section 2.3, with the places that the contract chose for the fields nobody measured.
ORDER = [
    "messages",
    "functions",
    "function_call",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "max_completion_tokens",
    "n",
    "modalities",
    "audio",
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "logprobs",
    "top_logprobs",
    "user",
    "seed",
    "moderation",
    "safety_identifier",
    "prompt_cache_options",
    "prompt_cache_key",
    "prompt_cache_retention",
    "response_format",
    "service_tier",
    "max_tokens",
    "reasoning_effort",
    "logit_bias",
    "stop",
    "stream",
    "stream_options",
    "store",
    "metadata",
    "prediction",
    "verbosity",
    "web_search_options",
]


def test_the_table_is_in_the_order_of_checks() -> None:
    assert [field.name for field in FIELDS] == ORDER
    assert {"model", *ORDER} == set(ChatRequest.__struct_fields__)


def wrong(field: str) -> object:
    """A value that is a wrong type for the field; an object where that is not, else a number with a fraction."""
    return 1.5 if field not in ("temperature", "top_p", "presence_penalty", "frequency_penalty") else {}


@pytest.mark.parametrize(("first", "second"), list(itertools.pairwise(ORDER)))
def test_of_two_faults_the_earlier_field_is_reported(first: str, second: str) -> None:
    sent = {"model": "m", "messages": [HELLO], second: wrong(second), first: wrong(first)}
    assert refusal(sent).param == first


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        # unknown keys come before any field, in the order sent
        ({"model": "m", "messages": 5, "zzz": 1, "aaa": 2}, unknown("zzz")),
        *(
            (body(**{knob: value}), unknown(knob))
            for knob, value in {
                "n_discard": -1,
                "id_slot": 1e9,
                "grammar": "root ::= x",
                "samplers": [],
                "cache_prompt": True,
                "chat_template": "x",
                "chat_template_kwargs": {},
                "reasoning": {},
                "text": {},
                "Temperature": 1,
                "": 1,
            }.items()
        ),
        (body(**{"k" * 70: 1}), Refusal("unknown_parameter", "k" * 70, f"Unknown parameter: '{'k' * 64}...'.")),
        # by index; within an object missing, types, values, unknown
        (chat({"role": "user", "content": 1}, {"role": "foo"}), "messages[0].content"),
        (chat(HELLO, {"role": "foo"}, {"role": "bar"}), "messages[1].role"),
        (chat({"role": "tool", "content": 1, "x": 1}), "messages[0].tool_call_id"),
        (chat({"role": "user", "x": 1, "name": 5, "content": []}), "messages[0].name"),
        (chat({"role": "user", "x": 1, "name": "a b", "content": []}), "messages[0].content"),
        (chat({"role": "user", "x": 1, "name": "a b", "content": "x"}), "messages[0].name"),
        (chat({"role": "user", "x": 1, "content": [{"type": "text", "y": 1}]}), "messages[0].content[0].text"),
        (
            chat({"role": "user", "x": 1, "content": [{"type": "text", "text": "t", "y": 1}]}),
            "messages[0].content[0].y",
        ),
        (chat({"role": "user", "x": 1, "content": "x"}), "messages[0].x"),
        # the form of all messages before how they follow one another, that before the word json
        (chat({"role": "tool", "content": "x", "tool_call_id": "c"}, {"role": "foo"}), "messages[1].role"),
        (
            chat({"role": "tool", "content": "x", "tool_call_id": "c"}, response_format=JSON_MODE),
            "messages.[0].role",
        ),
        # a rule belongs to the field it names: after its form, before later fields
        (body(response_format=JSON_MODE, n=0), "messages"),
        (body(top_logprobs=21), "top_logprobs"),
        (body(top_logprobs=1, user=5), "top_logprobs"),
        (body(max_tokens=1, max_completion_tokens=1, service_tier="x"), "service_tier"),
        (body(max_tokens=1, max_completion_tokens=1, stop=5), "max_tokens"),
        (body(functions=FUNCTIONS, tools=5), "functions"),
        (body(n=2, prediction=5), "n"),
        (body(modalities=["audio"], temperature=5), "audio"),
    ],
)
def test_order(sent: dict[str, Any], expected: Refusal | str) -> None:
    got = refusal(sent)
    assert expected in (got, got.param)
