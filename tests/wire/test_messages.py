"""Messages by role, and what their content may be (contract, sections 3.1, 3.4)."""

from __future__ import annotations

from typing import Any

import pytest
from openai.types.chat import ChatCompletionMessage

from completionist.types.messages import (
    AssistantMessage,
    AudioReference,
    DeveloperMessage,
    FunctionMessage,
    SystemMessage,
    ToolMessage,
    UserMessage,
)
from completionist.types.parts import RefusalPart, TextPart
from completionist.types.tools import CalledCustom, CalledFunction, CustomToolCall, FunctionToolCall
from tests.wire.bodies import (
    HELLO,
    Refusal,
    chat,
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

ROLES = "'system', 'assistant', 'user', 'function', 'tool', and 'developer'"
PART_TYPES = "'text', 'image_url', 'input_audio', 'refusal', 'audio', and 'file'"
STRING_OR_PARTS = "one of a string or array of objects"
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
ANSWER = {"role": "tool", "tool_call_id": "call_1", "content": "4"}
AT = "messages[0].content"


def null_content(at: str) -> Refusal:
    return Refusal(None, at, "Invalid value for 'content': expected a string, got null.")


def calls(*tool_calls: object) -> dict[str, Any]:
    return {"role": "assistant", "tool_calls": list(tool_calls)}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (1, wrong_type("messages[0]", "an object", "an integer")),
        ({}, missing("messages[0].role")),
        ({"content": "x"}, missing("messages[0].role")),
        ({"role": "foo"}, wrong_value("messages[0].role", "foo", ROLES)),
        (
            {"role": None},
            wrong_type(
                "messages[0].role", "one of 'system', 'assistant', 'user', 'function', 'tool', or 'developer'", "null"
            ),
        ),
        *(({"role": role}, missing(AT)) for role in ("system", "developer", "user", "assistant", "tool", "function")),
        *(
            ({"role": role, "content": None, "tool_call_id": "x"}, null_content("messages.[0].content"))
            for role in ("tool",)
        ),
        *(
            ({"role": role, "content": None}, null_content("messages.[0].content"))
            for role in ("system", "developer", "user", "assistant")
        ),
        *(
            ({"role": role, "content": 1, "tool_call_id": "x"}, wrong_type(AT, STRING_OR_PARTS, "an integer"))
            for role in ("tool",)
        ),
        *(
            ({"role": role, "content": 1}, wrong_type(AT, STRING_OR_PARTS, "an integer"))
            for role in ("system", "developer", "user", "assistant")
        ),
        ({"role": "function", "name": "f", "content": []}, wrong_type(AT, "a string", "an array")),
        *(({"role": role, "content": []}, empty_array(AT)) for role in ("system", "developer", "user", "assistant")),
        ({"role": "user", "content": {}}, wrong_type(AT, STRING_OR_PARTS, "an object")),
        ({"role": "user", "content": "x" * 1_048_577}, too_long(AT, 1_048_576, 1_048_577)),
        ({"role": "tool", "content": "x"}, missing("messages[0].tool_call_id")),
        ({"role": "function", "content": None}, missing("messages[0].name")),
        ({"role": "user", "content": "x", "name": "a b"}, pattern("messages[0].name")),
        ({"role": "user", "content": "x", "name": "a\n"}, pattern("messages[0].name")),
        ({"role": "user", "content": "x", "name": "é"}, pattern("messages[0].name")),
        ({"role": "user", "content": "x", "name": ""}, empty_string("messages[0].name")),
        ({"role": "user", "content": "x", "name": "n" * 65}, too_long("messages[0].name", 64, 65)),
        ({"role": "user", "content": "x", "name": None}, wrong_type("messages[0].name", "a string", "null")),
        ({"role": "user", "content": "x", "tool_calls": [CALL]}, unknown("messages[0].tool_calls")),
        ({"role": "system", "content": "x", "refusal": None}, unknown("messages[0].refusal")),
        ({"role": "tool", "content": "x", "tool_call_id": "x", "name": "n"}, unknown("messages[0].name")),
        (
            {"role": "tool", "content": "x", "tool_call_id": 1},
            wrong_type("messages[0].tool_call_id", "a string", "an integer"),
        ),
        # assistant
        (
            {"role": "assistant", "content": "x", "refusal": 1},
            wrong_type("messages[0].refusal", "a string", "an integer"),
        ),
        ({"role": "assistant", "content": "x", "audio": {}}, missing("messages[0].audio.id")),
        ({"role": "assistant", "content": "x", "audio": {"id": "a", "x": 1}}, unknown("messages[0].audio.x")),
        ({"role": "assistant", "audio": None}, missing(AT)),
        ({"role": "assistant", "content": None, "tool_calls": None}, null_content("messages.[0].content")),
        (calls(), empty_array("messages[0].tool_calls")),
        (calls(1), wrong_type("messages[0].tool_calls[0]", "an object", "an integer")),
        (calls({}), missing("messages[0].tool_calls[0].type")),
        (calls({"type": "magic"}), wrong_value("messages[0].tool_calls[0].type", "magic", "'function' and 'custom'")),
        (calls({"type": "function"}), missing("messages[0].tool_calls[0].id")),
        (calls({"type": "function", "id": "x"}), missing("messages[0].tool_calls[0].function")),
        (
            calls({"type": "function", "id": "x" * 41, "function": {"name": "f", "arguments": ""}}),
            too_long("messages[0].tool_calls[0].id", 40, 41),
        ),
        (
            calls({"type": "function", "id": "x", "function": {"name": "f", "arguments": {}}}),
            wrong_type("messages[0].tool_calls[0].function.arguments", "a string", "an object"),
        ),
        (
            calls({"type": "function", "id": "x", "function": {"name": "f g", "arguments": ""}}),
            pattern("messages[0].tool_calls[0].function.name"),
        ),
        (
            calls({"type": "custom", "id": "x", "custom": {"name": "f"}}),
            missing("messages[0].tool_calls[0].custom.input"),
        ),
        (calls({**CALL, "index": 0}), unknown("messages[0].tool_calls[0].index")),
        ({"role": "assistant", "function_call": {"name": "f"}}, missing("messages[0].function_call.arguments")),
        # parts of the wrong role
        *(
            (
                {"role": role, "content": [{"type": kind}]},
                wrong_value(f"{AT}[0].type", kind, PART_TYPES),
            )
            for role, kind in (
                ("system", "image_url"),
                ("developer", "input_audio"),
                ("assistant", "file"),
                ("system", "refusal"),
                ("user", "refusal"),
                ("user", "audio"),
                ("assistant", "audio"),
                ("user", "video"),
            )
        ),
        (
            {"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "b"}]},
            wrong_value(f"{AT}[1].type", "refusal", PART_TYPES),
        ),
        (
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "a"}] * 2},
            wrong_value(f"{AT}[0].type", "refusal", PART_TYPES),
        ),
    ],
)
def test_refused(message: object, expected: Refusal) -> None:
    assert refusal(chat(message)) == expected


TEXTS = [{"type": "text", "text": "a"}, {"type": "text", "text": " b\n"}]


@pytest.mark.parametrize(
    ("message", "frozen", "text"),
    [
        ({"role": "system", "content": "x"}, SystemMessage(content="x"), "x"),
        ({"role": "developer", "content": "", "name": "n-1_"}, DeveloperMessage(content="", name="n-1_"), ""),
        ({"role": "user", "content": TEXTS}, UserMessage(content=(TextPart(text="a"), TextPart(text=" b\n"))), "a b\n"),
        (
            {"role": "user", "content": [{"type": "text", "text": ""}]},
            UserMessage(content=(TextPart(text=""),)),
            "",
        ),
        ({"role": "assistant", "content": "x", "refusal": None}, AssistantMessage(content="x"), "x"),
        ({"role": "assistant", "refusal": "no"}, AssistantMessage(refusal="no"), "no"),
        ({"role": "assistant", "content": None, "refusal": "no"}, AssistantMessage(refusal="no"), "no"),
        (
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
            AssistantMessage(content=(RefusalPart(refusal="no"),)),
            "no",
        ),
        (
            {"role": "assistant", "audio": {"id": "audio_1", "data": "AAAA", "expires_at": 1, "transcript": "x"}},
            AssistantMessage(audio=AudioReference(id="audio_1")),
            "",
        ),
        (
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "not JSON"}},
            AssistantMessage(function_call=CalledFunction(name="f", arguments="not JSON")),
            "",
        ),
        ({"role": "function", "name": "f", "content": None}, FunctionMessage(content=None, name="f"), ""),
        ({"role": "function", "name": "f", "content": "4"}, FunctionMessage(content="4", name="f"), "4"),
    ],
)
def test_frozen(message: object, frozen: object, text: str) -> None:
    (got,) = read(chat(message)).messages
    assert got == frozen
    assert got.text == text


def test_calls_and_their_answers() -> None:
    custom = {"id": "é" * 40, "type": "custom", "custom": {"name": "sql", "input": "SELECT"}}
    request = read(chat({**calls(CALL, custom), "content": "let me see"}, ANSWER, {**ANSWER, "tool_call_id": "é" * 40}))
    assert request.messages == (
        AssistantMessage(
            content="let me see",
            tool_calls=(
                FunctionToolCall(id="call_1", function=CalledFunction(name="f", arguments="{}")),
                CustomToolCall(id="é" * 40, custom=CalledCustom(name="sql", input="SELECT")),
            ),
        ),
        ToolMessage(content="4", tool_call_id="call_1"),
        ToolMessage(content="4", tool_call_id="é" * 40),
    )


def test_an_answer_dumped_by_the_client_comes_back() -> None:
    dumped = ChatCompletionMessage(role="assistant", content="x", annotations=[]).model_dump()
    assert {"annotations", "audio", "function_call", "tool_calls", "refusal"} <= set(dumped)
    assert read(chat(dumped)).messages == (AssistantMessage(content="x"),)


def test_any_role_may_stand_first_and_last() -> None:
    spoken = [{"role": role, "content": "x"} for role in ("assistant", "system", "user", "developer", "assistant")]
    assert [message.role for message in read(chat(*spoken)).messages] == [message["role"] for message in spoken]


STRAY = "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'."
OTHER_ID = {**ANSWER, "tool_call_id": "call_9"}
SECOND = {**CALL, "id": "call_2"}


def left_open(param: str, ids: str) -> Refusal:
    return Refusal(
        None,
        param,
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. "
        f"The following tool_call_ids did not have response messages: {ids}",
    )


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([ANSWER], Refusal(None, "messages.[0].role", STRAY)),
        ([HELLO, ANSWER], Refusal(None, "messages.[1].role", STRAY)),
        ([{"role": "assistant", "content": "x"}, ANSWER], Refusal(None, "messages.[1].role", STRAY)),
        ([calls(CALL), ANSWER, HELLO, ANSWER], Refusal(None, "messages.[3].role", STRAY)),
        (
            [calls(CALL), OTHER_ID],
            Refusal(
                None,
                "messages.[1].tool_call_id",
                "Invalid parameter: 'tool_call_id' of 'call_9' not found in 'tool_calls' of previous message.",
            ),
        ),
        (
            [calls(CALL), {**ANSWER, "tool_call_id": "z" * 70}],
            Refusal(
                None,
                "messages.[1].tool_call_id",
                f"Invalid parameter: 'tool_call_id' of '{'z' * 64}...' not found in 'tool_calls' of previous message.",
            ),
        ),
        ([calls(CALL)], left_open("messages", "call_1")),
        ([calls(SECOND, CALL)], left_open("messages", "call_2, call_1")),
        ([calls(CALL, SECOND), ANSWER], left_open("messages", "call_2")),
        ([calls(CALL), HELLO, ANSWER], left_open("messages.[1].role", "call_1")),
        ([calls(CALL), calls(CALL), ANSWER], left_open("messages.[1].role", "call_1")),
        ([calls(CALL, SECOND), ANSWER, HELLO], left_open("messages.[2].role", "call_2")),
    ],
)
def test_tool_messages_must_answer_calls(messages: list[object], expected: Refusal) -> None:
    assert refusal(chat(*messages)) == expected


def test_answers_come_in_any_order_and_more_than_once() -> None:
    answers = [{**ANSWER, "tool_call_id": "call_2"}, ANSWER, ANSWER]
    assert len(read(chat(calls(CALL, SECOND), *answers, calls(CALL), ANSWER, HELLO)).messages) == 7
