"""Calls in answers, plain and streamed, through the official client (contract 4.3 to 4.5, 6.6)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from completionist.engine.base import GrammarRefused, Prompt
from completionist.engine.scripted import Move, pieces
from completionist.grammar.frames import Check, Verdict
from completionist.grammar.trier import Lost, Trier
from tests.support.ask import ask, ask_streamed, official
from tests.support.server import RunningServer, running_server

TIDE = {
    "type": "function",
    "function": {
        "name": "get_tide",
        "parameters": {"type": "object", "properties": {"harbour": {"type": "string"}}},
    },
}
SQL = {"type": "custom", "custom": {"name": "run_sql"}}
TIDES = ('{"harbour": "Brest"}', '{"harbour": "Cork"}')


def function(name: str, parameters: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": parameters, **more}}


def call(name: str, arguments: str) -> str:
    return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


@pytest.fixture(scope="module")
def own_server() -> Iterator[RunningServer]:
    with running_server() as server:
        yield server


@pytest.fixture(scope="module")
def own_client(own_server: RunningServer) -> Iterator[openai.OpenAI]:
    with official(own_server.base_url, api_key="x", max_retries=0) as client:
        yield client


@pytest.fixture
def says(own_server: RunningServer) -> Callable[..., None]:
    """Sets the text that the model generates for each choice."""

    def say(*texts: str) -> None:
        own_server.engine._script = lambda prompt: [pieces(texts[i % len(texts)]) for i in range(prompt.n)]

    return say


def both(client: openai.OpenAI, **fields: Any) -> tuple[ChatCompletion, list[ChatCompletionChunk]]:
    """The plain answer and the chunks, which must add up to it but for ids."""
    plain, chunks = ask(client, **fields), ask_streamed(client, stream_options={"include_usage": True}, **fields)
    state = ChatCompletionStreamState()
    for chunk in chunks:
        state.handle_chunk(chunk)
    assert comparable(state.current_completion_snapshot) == comparable(plain)
    return plain, chunks


def calls_of(answer: ChatCompletion) -> list[dict[str, Any]]:
    return [made.to_dict() for made in answer.choices[0].message.tool_calls or ()]


def comparable(answer: ChatCompletion) -> dict[str, Any]:
    shown = answer.model_dump(exclude={"id", "created", "object"})
    for choice in shown["choices"]:
        message = choice["message"]
        message.pop("annotations")
        message.pop("parsed", None)
        for made in message["tool_calls"] or ():
            assert made.pop("id").startswith("call_")
            made.pop("index", None)
            (made.get("function") or {}).pop("parsed_arguments", None)
    return shown


def test_one_call(own_client: openai.OpenAI, says: Callable[..., None]) -> None:
    says(call("get_tide", TIDES[0]))
    plain, chunks = both(own_client, tools=[TIDE])
    message = plain.choices[0].message
    assert (message.content, plain.choices[0].finish_reason) == (None, "tool_calls")
    assert message.tool_calls is not None
    assert message.tool_calls[0].to_dict() == {
        "id": message.tool_calls[0].id,
        "type": "function",
        "function": {"name": "get_tide", "arguments": TIDES[0]},
    }
    first = chunks[0].choices[0].delta
    assert first.to_dict()["content"] is None
    assert first.tool_calls is not None
    assert first.tool_calls[0].to_dict() == {
        "index": 0,
        "id": first.tool_calls[0].id,
        "type": "function",
        "function": {"name": "get_tide", "arguments": ""},
    }
    later: list[Any] = [c.choices[0].delta.to_dict() for c in chunks[1:-2]]
    assert all(set(delta) == {"tool_calls"} for delta in later)
    assert all(set(made) == {"index", "function"} for delta in later for made in delta["tool_calls"])


def test_several_calls_behind_text(own_client: openai.OpenAI, says: Callable[..., None]) -> None:
    says("Let me look.\n\n" + call("get_tide", TIDES[0]) + "\n" + call("get_tide", TIDES[1]))
    plain, chunks = both(own_client, tools=[TIDE])
    message = plain.choices[0].message
    assert message.content == "Let me look."
    assert [made["function"]["arguments"] for made in calls_of(plain)] == list(TIDES)
    assert len({made["id"] for made in calls_of(plain)}) == 2
    assert chunks[0].choices[0].delta.to_dict() == {"role": "assistant", "content": "", "refusal": None}


def test_words_alone_are_text(own_client: openai.OpenAI, says: Callable[..., None]) -> None:
    says("Good morning! \n")
    plain, _ = both(own_client, tools=[TIDE])
    assert (plain.choices[0].message.content, plain.choices[0].finish_reason) == ("Good morning! \n", "stop")
    assert "tool_calls" not in plain.choices[0].message.to_dict()


def test_what_looks_like_a_call_is_text_where_none_may_be_made(
    own_client: openai.OpenAI, says: Callable[..., None]
) -> None:
    text = call("get_tide", TIDES[0])
    says(text)
    plain, _ = both(own_client, tools=[TIDE], tool_choice="none")
    assert (plain.choices[0].message.content, plain.choices[0].finish_reason) == (text, "stop")


def test_a_tool_forced_by_name_finishes_with_stop(own_client: openai.OpenAI, says: Callable[..., None]) -> None:
    says(call("get_tide", TIDES[0]))
    plain, _ = both(own_client, tools=[TIDE], tool_choice={"type": "function", "function": {"name": "get_tide"}})
    assert plain.choices[0].finish_reason == "stop"
    assert plain.choices[0].message.tool_calls


def test_a_call_that_is_cut_off(own_client: openai.OpenAI, says: Callable[..., None]) -> None:
    says(call("get_tide", TIDES[0]))
    plain, _ = both(own_client, tools=[TIDE], max_completion_tokens=4)
    (made,) = calls_of(plain)
    assert plain.choices[0].finish_reason == "length"
    assert TIDES[0].startswith(made["function"]["arguments"])


def test_only_allowed_tools_are_called(own_client: openai.OpenAI, says: Callable[..., None]) -> None:
    text = call("run_sql", '{"input": "SELECT 1"}')
    says(text)
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [TIDE]}}
    plain, _ = both(own_client, tools=[TIDE, SQL], tool_choice=allowed)
    assert (plain.choices[0].message.content, plain.choices[0].message.tool_calls) == (text, None)


def test_a_custom_call(own_client: openai.OpenAI, says: Callable[..., None]) -> None:
    says(call("run_sql", '{"input": "SELECT \\"depth\\""}'))
    plain = ask(own_client, tools=[SQL])
    (made,) = calls_of(plain)
    assert made == {
        "id": made["id"],
        "type": "custom",
        "custom": {"name": "run_sql", "input": 'SELECT "depth"'},
    }
    chunks = ask_streamed(own_client, tools=[SQL])
    calls = [made.to_dict() for c in chunks for made in c.choices[0].delta.tool_calls or ()]
    assert calls[0] == {
        "index": 0,
        "id": calls[0]["id"],
        "type": "custom",
        "custom": {"name": "run_sql", "input": ""},
    }
    assert "".join(made["custom"]["input"] for made in calls) == 'SELECT "depth"'  # type: ignore[index]  # a plain dict


def test_a_legacy_call(own_client: openai.OpenAI, says: Callable[..., None]) -> None:
    says(call("get_tide", TIDES[0]))
    plain, chunks = both(own_client, functions=[TIDE["function"]])
    choice = plain.choices[0]
    assert choice.finish_reason == "function_call"
    assert choice.message.to_dict()["function_call"] == {"name": "get_tide", "arguments": TIDES[0]}
    assert (choice.message.content, choice.message.tool_calls) == (None, None)
    assert chunks[0].choices[0].delta.to_dict() == {
        "role": "assistant",
        "content": None,
        "function_call": {"name": "get_tide", "arguments": ""},
        "refusal": None,
    }
    named, _ = both(own_client, functions=[TIDE["function"]], function_call={"name": "get_tide"})
    assert named.choices[0].finish_reason == "stop"


def test_choices_open_in_order_whichever_speaks_first(own_client: openai.OpenAI, own_server: RunningServer) -> None:
    slow = ["<tool_call>", "\n", *(" " for _ in range(20)), '{"name": "get_tide", "arguments": {}}', "</tool_call>"]
    choices = [[piece.encode() for piece in slow], pieces("I can tell at once."), pieces("So can I.")]
    own_server.engine._script = lambda _: choices
    plain, chunks = both(own_client, tools=[TIDE], n=3)
    first_seen = list(dict.fromkeys(c.choices[0].index for c in chunks if c.choices))
    assert first_seen == [0, 1, 2]
    assert [choice.finish_reason for choice in plain.choices] == ["tool_calls", "stop", "stop"]


def test_logprobs_belong_to_words_not_to_calls(own_client: openai.OpenAI, says: Callable[..., None]) -> None:
    says("Let me look.\n" + call("get_tide", TIDES[0]))
    plain, chunks = both(own_client, tools=[TIDE], logprobs=True)
    listed = plain.choices[0].logprobs
    assert listed is not None
    assert [entry.token for entry in listed.content or ()] == ["Let", " me", " look."]
    says(call("get_tide", TIDES[0]))
    plain, chunks = both(own_client, tools=[TIDE], logprobs=True)
    assert plain.choices[0].logprobs is not None
    assert plain.choices[0].logprobs.content == []
    assert chunks[0].choices[0].logprobs is not None
    assert all(c.choices[0].logprobs is None for c in chunks[1:-1] if c.choices)


def test_calls_and_results_of_the_history_reach_the_prompt(
    own_client: openai.OpenAI, own_server: RunningServer
) -> None:
    seen: list[str] = []

    def script(prompt: Any) -> list[list[bytes]]:
        seen.append("".join(getattr(segment, "text", "") for segment in prompt.segments))
        return [pieces("High at 12:40.")]

    own_server.engine._script = script
    made = {"id": "call_1", "type": "function", "function": {"name": "get_tide", "arguments": TIDES[0]}}
    ask(
        own_client,
        messages=[
            {"role": "user", "content": "Tide?", "name": "ann"},
            {"role": "assistant", "tool_calls": [made]},
            {"role": "tool", "tool_call_id": "call_1", "content": "12:40 high"},
        ],
    )
    assert "ann: Tide?" in seen[0]
    assert '{"name": "get_tide", "arguments": {"harbour": "Brest"}}' in seen[0]
    assert "12:40 high" in seen[0]


STRICT = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}


@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "n", "strict": True, "schema": STRICT},
                }
            },
            (
                "response_format",
                None,
                "Invalid schema for response_format 'n': In context=(), 'additionalProperties' is",
            ),
        ),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "strict": True, "parameters": STRICT}}]},
            (
                "tools[0].function.parameters",
                "invalid_function_parameters",
                "Invalid schema for function 'f': In context=(), 'additionalProperties' is required",
            ),
        ),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "n", "schema": {"properties": {"x": {"pattern": "(?=a)"}}}},
                }
            },
            (
                "response_format",
                None,
                "Invalid schema for response_format 'n': In context=('properties', 'x'), 'pattern' is not permitted.",
            ),
        ),
        *(
            (
                {
                    "tools": [
                        TIDE,
                        {
                            "type": "custom",
                            "custom": {
                                "name": "c",
                                "format": {"type": "grammar", "grammar": {"syntax": syntax, "definition": definition}},
                            },
                        },
                    ],
                    "tool_choice": "none",
                },
                ("tools[1].custom.format.grammar.definition", None, f"Invalid {syntax} grammar"),
            )
            for syntax, definition in (("lark", "start: missing"), ("regex", "a(?=b)"))
        ),
    ],
)
def test_what_cannot_be_enforced_is_refused_before_anything_runs(
    own_client: openai.OpenAI, own_server: RunningServer, fields: dict[str, Any], refusal: tuple[str, str | None, str]
) -> None:
    ran: list[Prompt] = []

    def script(prompt: Prompt) -> list[list[Move]]:
        ran.append(prompt)
        return [[]]

    own_server.engine._script = script
    param, code, message = refusal
    for ask_for in (ask, ask_streamed):
        with pytest.raises(openai.BadRequestError) as caught:
            ask_for(own_client, **fields)
        body = caught.value.body
        assert isinstance(body, dict)
        assert (body["param"], body["code"], body["type"]) == (param, code, "invalid_request_error")
        assert body["message"].startswith(message)
    assert ran == []


CITY = {"type": "object", "properties": {"city": {"type": "string"}, "day": {"type": "integer"}}, "required": ["city"]}
LARK = {"type": "grammar", "grammar": {"syntax": "lark", "definition": 'start: "a"'}}
SECRET = "ParserTooComplex at parser.rs:99"


@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        (
            {"tools": [SQL, function("f", CITY, strict=False)], "tool_choice": "required"},
            ("tools[1].function.parameters", "invalid_function_parameters", "Invalid schema for function 'f': "),
        ),
        (
            {"tools": [function("g", STRICT | {"additionalProperties": False}, strict=True)]},
            ("tools[0].function.parameters", "invalid_function_parameters", "Invalid schema for function 'g': "),
        ),
        (
            {"functions": [{"name": "f", "parameters": CITY}]},
            ("functions[0].parameters", "invalid_function_parameters", "Invalid schema for function 'f': "),
        ),
        (
            {"tools": [TIDE, {"type": "custom", "custom": {"name": "c", "format": LARK}}]},
            ("tools[1].custom.format.grammar.definition", None, "Invalid lark grammar: "),
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": CITY}}},
            ("response_format", None, "Invalid schema for response_format 'n': "),
        ),
    ],
)
def test_a_grammar_that_fails_in_the_engine_is_laid_to_its_field(
    own_client: openai.OpenAI, own_server: RunningServer, fields: dict[str, Any], refusal: tuple[str, str | None, str]
) -> None:
    """The engine's own words are not for clients. A stream has begun by then, and ends with the same error."""
    param, code, message = refusal
    for is_dead_end, reason in ((False, "it is too complex."), (True, "it leads to a place where nothing fits.")):
        fault = GrammarRefused(SECRET, is_dead_end=is_dead_end)
        own_server.engine._script = lambda prompt, fault=fault: [[fault]] * prompt.n  # type: ignore[misc]  # bound now
        for ask_for, kind in ((ask, openai.BadRequestError), (ask_streamed, openai.APIError)):
            with pytest.raises(kind) as caught:
                ask_for(own_client, **fields)
            body = caught.value.body
            assert isinstance(body, dict)
            assert (body["param"], body["code"], body["type"]) == (param, code, "invalid_request_error")
            assert body["message"] == message + reason


def test_of_several_grammars_the_one_that_is_called_is_to_blame(
    own_client: openai.OpenAI, own_server: RunningServer
) -> None:
    head = '<tool_call>\n{"name": "g", "arguments": {"city"'
    own_server.engine._script = lambda _: [[*pieces(head), GrammarRefused(SECRET)]]
    with pytest.raises(openai.BadRequestError, match="function 'g'") as caught:
        ask(own_client, tools=[function("f", CITY), function("g", CITY)])
    assert caught.value.param == "tools[1].function.parameters"


def test_a_grammar_of_ours_that_fails_is_our_fault(own_client: openai.OpenAI, own_server: RunningServer) -> None:
    own_server.engine._script = lambda _: [[GrammarRefused(SECRET)]]
    messages: Any = [{"role": "user", "content": "Some JSON"}]
    with pytest.raises(openai.InternalServerError) as caught:
        ask(own_client, messages=messages, response_format={"type": "json_object"})
    assert SECRET not in caught.value.message
    assert own_server.log_lines(reason=SECRET)


@pytest.mark.parametrize(
    ("parameters", "is_held"),
    [
        (CITY, True),
        ({**CITY, "uniqueItems": True, "if": {}}, True),
        ({"properties": {"city": {"type": "string"}}, "required": ["city"]}, True),
        ({**CITY, "properties": {"city": {"type": "string", "pattern": "(?=x)"}}}, False),
        ({**CITY, "properties": {"city": {"$ref": "https://example.org/city"}}}, False),
    ],
)
@pytest.mark.parametrize("is_legacy", [False, True])
def test_parameters_that_are_not_strict_are_kept_where_they_can_be(
    own_client: openai.OpenAI, own_server: RunningServer, parameters: dict[str, Any], is_held: bool, is_legacy: bool
) -> None:
    prompts: list[Prompt] = []

    def script(prompt: Prompt) -> list[list[Move]]:
        prompts.append(prompt)
        return [list[Move](pieces(call("f", '{"city": "Brest"}')))]

    own_server.engine._script = script
    definition = {"name": "f", "parameters": parameters}
    ask(own_client, **({"functions": [definition]} if is_legacy else {"tools": [function("f", parameters)]}))
    held, looser = prompts[0].grammar, prompts[0].looser
    assert held is not None
    assert ("city" in held.source) == is_held
    assert (looser is not None and "city" not in looser.source) == is_held  # for where they turn out to be too much


def test_a_response_format_is_tried_once_and_tools_also_as_a_whole(
    own_client: openai.OpenAI, own_server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trials take their time beside full streams."""
    checks: list[Check] = []
    ask_trier = Trier.ask

    def counted(trier: Trier, check: Check) -> Verdict | Lost:
        checks.append(check)
        return ask_trier(trier, check)

    monkeypatch.setattr(Trier, "ask", counted)
    own_server.engine._script = lambda prompt: [pieces('{"city": "Brest"}')] * prompt.n
    schema = {**CITY, "title": "never seen before"}
    ask(own_client, response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": schema}})
    assert [check.whole is None for check in checks] == [True]
    ask(own_client, tools=[function("f", schema)])
    assert [check.whole is None for check in checks[1:]] == [True, False]
