"""Every field by itself: null, type, range (contract, section 2.1)."""

from __future__ import annotations

from typing import Any

import pytest

from completionist.types.request import ChatRequest
from tests.wire.bodies import (
    Refusal,
    above,
    below,
    body,
    empty_array,
    empty_string,
    long_array,
    missing,
    read,
    refusal,
    too_long,
    unknown,
    wrong_type,
    wrong_value,
)

TOOL = {"type": "function", "function": {"name": "f"}}
BESIDE: dict[str, dict[str, Any]] = {
    # What a field needs beside it in order to be legal.
    "top_logprobs": {"logprobs": True},
    "stream_options": {"stream": True},
    "function_call": {"functions": [{"name": "f"}]},
    "tool_choice": {"tools": [TOOL]},
    "parallel_tool_calls": {"tools": [TOOL]},
}

NULL_OK = [
    "audio",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "metadata",
    "modalities",
    "moderation",
    "n",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_retention",
    "reasoning_effort",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "top_logprobs",
    "top_p",
    "verbosity",
]

EXPECTED_OF_NOT_NULL = {
    "function_call": "one of one of 'none' or 'auto' or object",
    "functions": "an array of objects",
    "parallel_tool_calls": "a boolean",
    "prompt_cache_options": "an object",
    "response_format": "an object",
    "tool_choice": "one of one of 'none', 'auto', or 'required' or object",
    "tools": "an array of objects",
    "user": "a string",
    "web_search_options": "an object",
    "messages": "an array of objects",
}


def with_field(field: str, value: object) -> dict[str, Any]:
    return {**body(), **BESIDE.get(field, {}), field: value}


@pytest.mark.parametrize("field", NULL_OK)
def test_null_is_not_given(field: str) -> None:
    assert read(body(**{field: None})) == read(body())


@pytest.mark.parametrize("field", EXPECTED_OF_NOT_NULL)
def test_null_is_a_wrong_type_elsewhere(field: str) -> None:
    assert refusal(with_field(field, None)) == wrong_type(field, EXPECTED_OF_NOT_NULL[field], "null")


def test_the_two_lists_are_all_fields() -> None:
    assert {*NULL_OK, *EXPECTED_OF_NOT_NULL, "model"} == set(ChatRequest.__struct_fields__)


EFFORTS = "'none', 'minimal', 'low', 'medium', 'high', 'xhigh', or 'max'"
LEVELS = "'low', 'medium', or 'high'"
WRONG_TYPES: list[tuple[str, object, str, str]] = [
    *(
        (field, value, "an integer", got)
        for field in ("n", "max_tokens", "max_completion_tokens", "seed", "top_logprobs")
        for value, got in (("2", "a string"), (1.5, "a decimal number"), (1.0, "a decimal number"), (True, "a boolean"))
    ),
    *(
        (field, value, "a decimal", got)
        for field in ("temperature", "top_p", "presence_penalty", "frequency_penalty")
        for value, got in (("1", "a string"), (False, "a boolean"), ([], "an array"))
    ),
    *(
        (field, value, "a boolean", got)
        for field in ("logprobs", "stream", "store", "parallel_tool_calls")
        for value, got in (("true", "a string"), (1, "an integer"), ({}, "an object"))
    ),
    *((field, 1, "a string", "an integer") for field in ("user", "safety_identifier", "prompt_cache_key")),
    *(
        (field, "x", "an object", "a string")
        for field in [
            "audio",
            "moderation",
            "prompt_cache_options",
            "response_format",
            "logit_bias",
            "stream_options",
            "metadata",
            "prediction",
            "web_search_options",
        ]
    ),
    ("functions", {}, "an array of objects", "an object"),
    ("tools", TOOL, "an array of objects", "an object"),
    ("tool_choice", 1, "one of one of 'none', 'auto', or 'required' or object", "an integer"),
    ("function_call", 1, "one of one of 'none' or 'auto' or object", "an integer"),
    ("modalities", "text", "an array of strings", "a string"),
    ("stop", 1, "one of a string or array of strings", "an integer"),
    ("reasoning_effort", 1, f"one of {EFFORTS}", "an integer"),
    ("service_tier", 1, "one of 'auto', 'default', 'fast', 'flex', or 'priority'", "an integer"),
    ("verbosity", 1, f"one of {LEVELS}", "an integer"),
    ("prompt_cache_retention", 1, "one of 'in_memory' or '24h'", "an integer"),
]


@pytest.mark.parametrize(("field", "value", "expected", "got"), WRONG_TYPES)
def test_wrong_type(field: str, value: object, expected: str, got: str) -> None:
    assert refusal(with_field(field, value)) == wrong_type(field, expected, got)


def test_every_field_has_a_wrong_type() -> None:
    assert {row[0] for row in WRONG_TYPES} == set(ChatRequest.__struct_fields__) - {"model", "messages"}


BIG = 10**18
WRONG_VALUES: list[tuple[str, object, Refusal]] = [
    ("n", 0, below("n", 1, "0")),
    ("n", -1, below("n", 1, "-1")),
    ("n", 129, above("n", 128, "129")),
    ("n", BIG, above("n", 128, str(BIG))),
    ("top_logprobs", 21, above("top_logprobs", 20, "21")),
    ("top_logprobs", -1, below("top_logprobs", 0, "-1")),
    ("top_logprobs", 154880, above("top_logprobs", 20, "154880")),
    ("temperature", 2.1, above("temperature", 2, "2.1", kind="decimal")),
    ("temperature", 3, above("temperature", 2, "3", kind="decimal")),
    ("temperature", -0.1, below("temperature", 0, "-0.1", kind="decimal")),
    ("temperature", 999999, above("temperature", 2, "999999", kind="decimal")),
    ("top_p", -1, below("top_p", 0, "-1", kind="decimal")),
    ("top_p", 1.1, above("top_p", 1, "1.1", kind="decimal")),
    ("presence_penalty", 2.1, above("presence_penalty", 2, "2.1", kind="decimal")),
    ("presence_penalty", -2.1, below("presence_penalty", -2, "-2.1", kind="decimal")),
    ("frequency_penalty", 2.1, above("frequency_penalty", 2, "2.1", kind="decimal")),
    ("frequency_penalty", -2.1, below("frequency_penalty", -2, "-2.1", kind="decimal")),
    ("max_completion_tokens", 0, below("max_completion_tokens", 1, "0")),
    ("max_completion_tokens", -5, below("max_completion_tokens", 1, "-5")),
    ("max_completion_tokens", 2**31, above("max_completion_tokens", 2**31 - 1, str(2**31))),
    ("max_tokens", 0, below("max_tokens", 1, "0")),
    ("max_tokens", 2**63, above("max_tokens", 2**31 - 1, str(2**63))),
    ("seed", 2**63, above("seed", 2**63 - 1, str(2**63))),
    ("seed", -(2**63) - 1, below("seed", -(2**63), str(-(2**63) - 1))),
    ("user", "u" * 1025, too_long("user", 1024, 1025)),
    ("prompt_cache_key", "u" * 1025, too_long("prompt_cache_key", 1024, 1025)),
    ("safety_identifier", "u" * 129, too_long("safety_identifier", 128, 129)),
    ("stop", [], empty_array("stop")),
    ("stop", ["a", "b", "c", "d", "e"], long_array("stop", 4, 5)),
    ("stop", "", empty_string("stop")),
    ("stop", ["a", ""], empty_string("stop[1]")),
    ("stop", ["a", 1], wrong_type("stop[1]", "a string", "an integer")),
    ("stop", "x" * 1_048_577, too_long("stop", 1_048_576, 1_048_577)),
    ("modalities", [], empty_array("modalities")),
    ("modalities", ["text", "video"], wrong_value("modalities[1]", "video", "'text' and 'audio'")),
    ("modalities", [1], wrong_type("modalities[0]", "one of 'text' or 'audio'", "an integer")),
    ("functions", [], empty_array("functions")),
    ("functions", [{"name": "f"}] * 129, long_array("functions", 128, 129)),
    ("tools", [], empty_array("tools")),
    ("tools", [TOOL] * 129, long_array("tools", 128, 129)),
    ("service_tier", "gold", wrong_value("service_tier", "gold", "'auto', 'default', 'fast', 'flex', and 'priority'")),
    ("verbosity", "loud", wrong_value("verbosity", "loud", "'low', 'medium', and 'high'")),
    ("reasoning_effort", "huge", wrong_value("reasoning_effort", "huge", EFFORTS.replace(" or ", " and "))),
    ("prompt_cache_retention", "7d", wrong_value("prompt_cache_retention", "7d", "'in_memory' and '24h'")),
    ("verbosity", "v" * 65, wrong_value("verbosity", "v" * 64 + "...", "'low', 'medium', and 'high'")),
    # metadata
    (
        "metadata",
        {f"k{i}": "v" for i in range(17)},
        Refusal(
            "object_above_max_properties",
            "metadata",
            "Invalid 'metadata': too many properties. Expected an object with at most 16 properties, "
            "but got an object with 17 properties instead.",
        ),
    ),
    (
        "metadata",
        {"abc" + "k" * 59 + "xyz": "v"},
        Refusal(
            "property_name_above_max_length",
            "metadata.abc" + "k" * 59 + "xyz",
            "Invalid property name in 'metadata': 'abc...xyz' is too long. "
            "Expected a string with maximum length 64, but got a string with length 65 instead.",
        ),
    ),
    ("metadata", {"team": "v" * 513}, too_long("metadata.team", 512, 513)),
    ("metadata", {"team": 1}, wrong_type("metadata.team", "a string", "an integer")),
    ("metadata", {"team": None}, wrong_type("metadata.team", "a string", "null")),
    # logit_bias
    *(
        (
            "logit_bias",
            {key: 1},
            Refusal(
                None,
                "logit_bias",
                f"Invalid key in 'logit_bias': {key}. You should only be submitting non-negative integers.",
            ),
        )
        for key in ("abc", "-1", "1.5", "", "\u0661", "+1", " 1")
    ),
    (
        "logit_bias",
        {"9" * 5000: 1},
        Refusal(None, "logit_bias", f"Invalid key in 'logit_bias': {'9' * 64}.... Maximum value is 2147483647."),
    ),
    ("logit_bias", {"7": 101}, above("logit_bias.7", 100, "101")),
    ("logit_bias", {"7": -101}, below("logit_bias.7", -100, "-101")),
    ("logit_bias", {"7": 1.5}, wrong_type("logit_bias.7", "an integer", "a decimal number")),
    (
        "logit_bias",
        {str(i): 1 for i in range(100_000)},
        Refusal(
            "object_above_max_properties",
            "logit_bias",
            "Invalid 'logit_bias': too many properties. Expected an object with at most 1024 properties, "
            "but got an object with 100000 properties instead.",
        ),
    ),
    # objects
    ("stream_options", {"include_usage": 1}, wrong_type("stream_options.include_usage", "a boolean", "an integer")),
    (
        "stream_options",
        {"include_obfuscation": None},
        wrong_type("stream_options.include_obfuscation", "a boolean", "null"),
    ),
    ("stream_options", {"x": 1}, unknown("stream_options.x")),
    ("prompt_cache_options", {"mode": "x"}, wrong_value("prompt_cache_options.mode", "x", "'implicit' and 'explicit'")),
    ("prompt_cache_options", {"ttl": "1h"}, wrong_value("prompt_cache_options.ttl", "1h", "'30m'")),
    ("prompt_cache_options", {"ttl": 1}, wrong_type("prompt_cache_options.ttl", "'30m'", "an integer")),
    ("prompt_cache_options", {"x": 1}, unknown("prompt_cache_options.x")),
    ("audio", {"format": "wav"}, missing("audio.voice")),
    ("audio", {"voice": "alloy"}, missing("audio.format")),
    ("audio", {"voice": 1, "format": "wav"}, wrong_type("audio.voice", "one of a string or object", "an integer")),
    ("audio", {"voice": {}, "format": "wav"}, missing("audio.voice.id")),
    (
        "audio",
        {"voice": "alloy", "format": "midi"},
        wrong_value("audio.format", "midi", "'wav', 'aac', 'mp3', 'flac', 'opus', and 'pcm16'"),
    ),
    ("prediction", {}, missing("prediction.type")),
    ("prediction", {"type": "content"}, missing("prediction.content")),
    ("prediction", {"type": "text", "content": "x"}, wrong_value("prediction.type", "text", "'content'")),
    ("prediction", {"type": "content", "content": []}, empty_array("prediction.content")),
    (
        "prediction",
        {"type": "content", "content": 1},
        wrong_type("prediction.content", "one of a string or array of objects", "an integer"),
    ),
    (
        "prediction",
        {"type": "content", "content": [{"type": "image_url"}]},
        wrong_value(
            "prediction.content[0].type",
            "image_url",
            "'text', 'image_url', 'input_audio', 'refusal', 'audio', and 'file'",
        ),
    ),
    ("moderation", {}, missing("moderation.model")),
    ("moderation", {"model": 1}, wrong_type("moderation.model", "a string", "an integer")),
    ("moderation", {"model": "m", "policy": {"input": {}}}, missing("moderation.policy.input.mode")),
    (
        "moderation",
        {"model": "m", "policy": {"output": {"mode": "stop"}}},
        wrong_value("moderation.policy.output.mode", "stop", "'score' and 'block'"),
    ),
    ("moderation", {"model": "m", "policy": {"x": {}}}, unknown("moderation.policy.x")),
    (
        "web_search_options",
        {"search_context_size": "tiny"},
        wrong_value("web_search_options.search_context_size", "tiny", "'low', 'medium', and 'high'"),
    ),
    ("web_search_options", {"user_location": {"approximate": {}}}, missing("web_search_options.user_location.type")),
    (
        "web_search_options",
        {"user_location": {"type": "approximate"}},
        missing("web_search_options.user_location.approximate"),
    ),
    (
        "web_search_options",
        {"user_location": {"type": "exact", "approximate": {}}},
        wrong_value("web_search_options.user_location.type", "exact", "'approximate'"),
    ),
    (
        "web_search_options",
        {"user_location": {"type": "approximate", "approximate": {"planet": "x"}}},
        unknown("web_search_options.user_location.approximate.planet"),
    ),
]


@pytest.mark.parametrize(("field", "value", "expected"), WRONG_VALUES)
def test_wrong_value(field: str, value: object, expected: Refusal) -> None:
    assert refusal(with_field(field, value)) == expected
