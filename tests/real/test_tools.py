"""Schemas, tools and grammars, plain and streamed (contract 4, 7): most on the shortened model, for a grammar holds whatever a
model would rather say."""

from __future__ import annotations

import json
import re
from typing import Any, Literal

import jsonschema
import openai
import pytest
from openai.types.chat import ChatCompletion
from pydantic import BaseModel

from completionist.settings import DEFAULT_MODEL

pytestmark = pytest.mark.model

TIDE = {
    "type": "object",
    "properties": {
        "harbour": {"type": "string", "enum": ["Brest", "Cork", "Leith"]},
        "day": {"type": "integer", "minimum": 1, "maximum": 31},
        "is_spring": {"type": "boolean"},
    },
    "required": ["harbour", "day", "is_spring"],
    "additionalProperties": False,
}
GET_TIDE = {"type": "function", "function": {"name": "get_tide", "parameters": TIDE, "strict": True}}
GET_WIND = {"type": "function", "function": {"name": "get_wind", "description": "Wind at a place"}}
SQL = {
    "type": "custom",
    "custom": {
        "name": "run_sql",
        "format": {
            "type": "grammar",
            "grammar": {"syntax": "lark", "definition": 'start: "SELECT " COL (", " COL){0,2}\nCOL: /[a-z]{1,6}/'},
        },
    },
}
DIAL = {
    "type": "custom",
    "custom": {
        "name": "dial",
        "format": {"type": "grammar", "grammar": {"syntax": "regex", "definition": r"\+33[0-9]{9}"}},
    },
}


def ask(client: openai.OpenAI, text: str = "When is high water in Brest on the 3rd?", **given: Any) -> ChatCompletion:
    fields = {"temperature": 0, "max_completion_tokens": 120, **given}
    answer = client.chat.completions.create(model=DEFAULT_MODEL, messages=[{"role": "user", "content": text}], **fields)
    assert isinstance(answer, ChatCompletion)
    return answer


def calls(answer: ChatCompletion) -> list[dict[str, Any]]:
    return [call.to_dict() for call in answer.choices[0].message.tool_calls or ()]


def streamed_calls(client: openai.OpenAI, **given: Any) -> list[tuple[str, str]]:
    """Name and arguments of each call, put together from a stream."""
    found: dict[int, list[str]] = {}
    stream: Any = client.chat.completions.create(
        model=DEFAULT_MODEL,
        messages=[{"role": "user", "content": "When is high water in Brest on the 3rd?"}],
        stream=True,
        temperature=0,
        max_completion_tokens=120,
        **given,
    )
    for chunk in stream:
        for choice in chunk.choices:
            for call in choice.delta.tool_calls or ():
                own = call.to_dict()
                piece = own.get("function") or own["custom"]
                found.setdefault(call.index, [piece.get("name", ""), ""])[1] += piece.get(
                    "arguments", piece.get("input")
                )
    return [(name, arguments) for name, arguments in found.values()]


@pytest.mark.parametrize("strict", [True, False])
def test_an_answer_fits_its_schema_in_the_order_of_its_properties(short_client: openai.OpenAI, *, strict: bool) -> None:
    sent = {"name": "tide", "schema": TIDE, "strict": strict}
    for temperature in (0, 1):
        for seed in range(3):
            answer = ask(
                short_client,
                response_format={"type": "json_schema", "json_schema": sent},
                temperature=temperature,
                seed=seed,
            )
            document = json.loads(answer.choices[0].message.content or "")
            jsonschema.validate(document, TIDE)
            assert list(document) == list(TIDE["properties"])  # type: ignore[call-overload]  # a dict
            assert answer.choices[0].finish_reason == "stop"


def test_json_mode_gives_an_object(client: openai.OpenAI) -> None:
    answer = ask(client, "Describe a boat as JSON.", response_format={"type": "json_object"}, max_completion_tokens=60)
    if answer.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(answer.choices[0].message.content or ""), dict)
    assert (answer.choices[0].message.content or "").lstrip().startswith("{")


class Boat(BaseModel):
    kind: Literal["sloop", "ketch"]
    crew: int


def test_parse_gives_a_model_plain_and_streamed(client: openai.OpenAI) -> None:
    asked: Any = {
        "model": DEFAULT_MODEL,
        "messages": [{"role": "user", "content": "A ketch with a crew of 4."}],
        "response_format": Boat,
        "temperature": 0,
    }
    parsed = client.chat.completions.parse(**asked).choices[0].message.parsed
    assert isinstance(parsed, Boat)
    with client.chat.completions.stream(**asked) as stream:
        assert stream.get_final_completion().choices[0].message.parsed == parsed


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_tide"}}])
def test_a_forced_call_has_arguments_that_fit(client: openai.OpenAI, choice: Any) -> None:
    given: dict[str, Any] = {"tools": [GET_TIDE], "tool_choice": choice, "parallel_tool_calls": False}
    answer = ask(client, **given)
    (made,) = calls(answer)
    assert made["function"]["name"] == "get_tide"
    jsonschema.validate(json.loads(made["function"]["arguments"]), TIDE)
    assert answer.choices[0].message.content is None
    assert answer.choices[0].finish_reason == ("tool_calls" if choice == "required" else "stop")
    assert streamed_calls(client, **given) == [("get_tide", made["function"]["arguments"])]


def test_arguments_that_are_not_strict_have_what_is_required(client: openai.OpenAI) -> None:
    """In a schema that no strict one could be; what cannot be enforced holds nothing up."""
    weather = {
        "type": "object",
        "properties": {
            "city": {"type": "string", "maxLength": 20},
            "unit": {"enum": ["celsius", "fahrenheit"], "default": "celsius"},
        },
        "required": ["city"],
        "maxProperties": 2,
        "if": {"properties": {"unit": {"const": "celsius"}}},
    }
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": weather}}
    for seed in range(2):
        answer = ask(
            client, tools=[tool], tool_choice="required", parallel_tool_calls=False, temperature=1, seed=seed,
        )  # fmt: skip
        (made,) = calls(answer)
        assert answer.choices[0].finish_reason == "tool_calls"
        jsonschema.validate(json.loads(made["function"]["arguments"]), weather)


def test_a_grammar_whose_last_terminal_swallows_everything_still_ends(short_client: openai.OpenAI) -> None:
    grammar = {"type": "grammar", "grammar": {"syntax": "lark", "definition": 'start: "note: " /[^;]{1,60}/'}}
    tool = {"type": "custom", "custom": {"name": "write", "format": grammar}}
    answer = ask(short_client, "Write a note.", tools=[tool], tool_choice="required", parallel_tool_calls=False)
    (made,) = calls(answer)
    assert re.fullmatch("note: [^;]{1,60}", made["custom"]["input"])
    assert answer.choices[0].finish_reason == "tool_calls"


def test_only_what_is_allowed_is_called_and_the_prompt_stays_cached(short_client: openai.OpenAI) -> None:
    tools = [GET_WIND, GET_TIDE]
    ask(short_client, tools=tools, tool_choice="required", max_completion_tokens=2)
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "get_wind"}}]}
    answer = ask(short_client, tools=tools, tool_choice={"type": "allowed_tools", "allowed_tools": allowed})
    assert {made["function"]["name"] for made in calls(answer)} == {"get_wind"}
    assert answer.usage is not None
    assert answer.usage.prompt_tokens_details is not None
    assert (answer.usage.prompt_tokens_details.cached_tokens or 0) > answer.usage.prompt_tokens // 2


@pytest.mark.parametrize(
    ("tool", "name", "form"),
    [(SQL, "run_sql", r"SELECT [a-z]{1,6}(, [a-z]{1,6}){0,2}"), (DIAL, "dial", r"\+33[0-9]{9}")],
)
def test_a_custom_grammar_is_kept_token_by_token(short_client: openai.OpenAI, tool: Any, name: str, form: str) -> None:
    choice = {"type": "custom", "custom": {"name": name}}
    for temperature in (0, 1.5):
        answer = ask(
            short_client, tools=[tool], tool_choice=choice, parallel_tool_calls=False, temperature=temperature, seed=7
        )
        (made,) = calls(answer)
        assert made["type"] == "custom"
        assert re.fullmatch(form, made["custom"]["input"])
    ((streamed_name, text),) = streamed_calls(short_client, tools=[tool], tool_choice=choice, parallel_tool_calls=False)
    assert streamed_name == name
    assert re.fullmatch(form, text)


def test_a_legacy_function_by_name(short_client: openai.OpenAI) -> None:
    answer = ask(
        short_client,
        functions=[{"name": "get_tide", "parameters": TIDE}],
        function_call={"name": "get_tide"},
        max_completion_tokens=300,
    )
    called = answer.choices[0].message.function_call
    assert called is not None
    assert called.name == "get_tide"
    assert answer.choices[0].finish_reason in ("stop", "length")


def test_a_result_of_the_history_is_read(client: openai.OpenAI) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "get_tide", "arguments": '{"harbour": "Brest"}'}}
    messages: Any = [
        {"role": "user", "content": "When is high water in Brest?"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "High water in Brest is at 12:40."},
    ]
    tools: Any = [GET_TIDE]
    answer = client.chat.completions.create(
        model=DEFAULT_MODEL, messages=messages, tools=tools, temperature=0, max_completion_tokens=60
    )
    assert answer.choices[0].message.content or answer.choices[0].message.tool_calls


def test_choices_keep_the_grammar_each_for_itself(short_client: openai.OpenAI) -> None:
    sent = {"name": "tide", "schema": TIDE, "strict": True}
    answer = ask(
        short_client, response_format={"type": "json_schema", "json_schema": sent}, n=6, temperature=1.2, seed=3
    )
    documents = [json.loads(choice.message.content or "") for choice in answer.choices]
    for document in documents:
        jsonschema.validate(document, TIDE)
    assert len({json.dumps(document) for document in documents}) > 1


def test_logprobs_of_forced_tokens_are_those_of_the_model_alone(short_client: openai.OpenAI) -> None:
    sent = {"name": "tide", "schema": TIDE, "strict": True}
    answer = ask(
        short_client, response_format={"type": "json_schema", "json_schema": sent}, logprobs=True, top_logprobs=3
    )
    listed = answer.choices[0].logprobs
    assert listed is not None
    spelled = bytes(byte for entry in listed.content or () for byte in entry.bytes or ())
    assert spelled.decode() == answer.choices[0].message.content
    assert any(entry.logprob < -1 for entry in listed.content or ())
