"""What is stored of a request and its answer (contract, sections 1.3 and 1.4)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from completionist.types.completion import (
    ChatCompletion,
    Choice,
    CompletionTokensDetails,
    Message,
    PromptTokensDetails,
    Usage,
)
from completionist.types.request import ChatRequest, Draft
from completionist.types.stored import document, input_message, with_id, with_metadata

SCHEMA = {"type": "object", "properties": {"x": {"enum": [None, 1], "default": None}}}
GRAMMAR = {"syntax": "regex", "definition": "a"}
NAMED = {"type": "function", "function": {"name": "f"}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{"}}
PICTURE = {"type": "image_url", "image_url": {"url": "https://example.org/x.png", "detail": "low"}}
SOUND = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}


def read(**fields: Any) -> ChatRequest:
    body = {"model": "m", "messages": [{"role": "user", "content": "json"}], **fields}
    return Draft.read(json.dumps(body).encode()).request()


def stored(**fields: Any) -> dict[str, Any]:
    usage = Usage(
        prompt_tokens=1, completion_tokens=1, total_tokens=2,
        prompt_tokens_details=PromptTokensDetails(), completion_tokens_details=CompletionTokensDetails(),
    )  # fmt: skip
    completion = ChatCompletion(
        id="chatcmpl-1", created=1, model="m", usage=usage, service_tier="default", system_fingerprint="fp_1",
        choices=(Choice(index=0, message=Message(content="x"), finish_reason="stop"),),
    )  # fmt: skip
    return dict(json.loads(with_metadata(document(read(**fields), completion, "req_1"), '{"a":"b"}')))


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA, "strict": False}}]},
        {
            "tools": [
                {"type": "custom", "custom": {"name": "c", "format": {"type": "grammar", "grammar": GRAMMAR}}},
                {"type": "function", "function": {"name": "f", "description": "d"}},
            ],
            "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [NAMED]}},
        },
        {"tools": [NAMED], "tool_choice": NAMED},
        {"response_format": {"type": "json_object"}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}},
        {"seed": -5, "top_p": 0.5, "temperature": 0.0, "presence_penalty": -1.0, "frequency_penalty": 2.0},
    ],
)  # fmt: skip
def test_parameters_are_kept_as_sent(fields: dict[str, Any]) -> None:
    found = stored(**fields)
    assert {name: found[name] for name in fields} == fields


def test_what_was_not_sent_is_null_or_its_default() -> None:
    found = stored()
    names = ("tool_choice", "tools", "response_format", "seed", "input_user", "top_p", "temperature")
    assert [found[name] for name in names] == [None] * 5 + [1.0, 1.0]
    assert (found["presence_penalty"], found["frequency_penalty"]) == (0.0, 0.0)
    assert found["choices"][0]["message"] == {
        "role": "assistant", "content": "x", "tool_calls": None, "function_call": None, "refusal": None, "annotations": [],
    }  # fmt: skip
    assert (found["metadata"], found["request_id"]) == ({"a": "b"}, "req_1")


def message(**fields: Any) -> dict[str, Any]:
    """The one stored message of a conversation that ends with it."""
    history = [{"role": "assistant", "tool_calls": [CALL]}] if fields["role"] == "tool" else []
    after = [{"role": "tool", "tool_call_id": "call_1", "content": "r"}] if "tool_calls" in fields else []
    request = read(messages=[*history, fields, *after])
    found = dict(json.loads(with_id(input_message(request.messages[len(history)]), "i-0")))
    assert found.pop("id") == "i-0"
    return found


PLAIN = {"refusal": None, "name": None, "content_parts": None}


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ({"role": "user", "content": "a\0b", "name": "n"}, {"role": "user", "content": "a\0b", **PLAIN, "name": "n"}),
        (
            {"role": "user", "content": [{"type": "text", "text": "a"}, PICTURE, SOUND, {"type": "text", "text": "b"}]},
            {
                "role": "user",
                "content": "a\nb",
                **PLAIN,
                "content_parts": [{"type": "text", "text": "a"}, PICTURE, {"type": "text", "text": "b"}],
            },
        ),
        (
            {"role": "user", "content": [PICTURE]},
            {"role": "user", "content": None, **PLAIN, "content_parts": [PICTURE]},
        ),
        (
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "assistant", "content": None, **PLAIN, "tool_calls": [CALL]},
        ),
        (
            {"role": "tool", "tool_call_id": "call_1", "content": "r"},
            {"role": "tool", "content": "r", **PLAIN, "tool_call_id": "call_1"},
        ),
        (
            {"role": "assistant", "refusal": "no"},
            {"role": "assistant", "content": None, **PLAIN, "refusal": "no"},
        ),
        (
            {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}, "audio": {"id": "audio_1"}},
            {
                "role": "assistant",
                "content": None,
                **PLAIN,
                "function_call": {"name": "f", "arguments": "{}"},
                "audio": {"id": "audio_1"},
            },
        ),
    ],
)
def test_messages_are_kept_as_sent(sent: dict[str, Any], kept: dict[str, Any]) -> None:
    assert message(**sent) == kept


def test_pictures_over_8_mb_are_left_out() -> None:
    def picture(n_bytes: int) -> dict[str, Any]:
        return {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * (n_bytes * 4 // 3 // 4 * 4)}}

    kept = message(role="user", content=[picture(8_000_000 - 60), picture(8_000_003), picture(9_000_000)])
    assert len(kept["content_parts"]) == 1
