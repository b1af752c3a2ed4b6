"""Rows 24 to 27: schemas and grammars that cannot be, must not be, or are too much."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.abuse.clients import custom, function, response_format
from tests.abuse.invariants import CREATE, NEVER_END, Abuse
from tests.engine.tiny_models import token_of
from tests.support import raw
from tests.support.server import RunningServer, eventually, running_server

GRAMMAR_PARAM = "tools[0].custom.format.grammar.definition"


def closed(**properties: object) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def nested(n_levels: int) -> str:
    return '{"type":"array","items":' * n_levels + '{"type":"integer"}' + "}" * n_levels


def reference_tree(n_levels: int) -> dict[str, Any]:
    """2 ** n_levels nodes, were it written out."""
    definitions: dict[str, Any] = {f"d{n_levels}": {"type": "integer"}}
    for i in range(n_levels):
        below = {"$ref": f"#/$defs/d{i + 1}"}
        definitions[f"d{i}"] = closed(a=below, b=below)
    return {**closed(x={"$ref": "#/$defs/d0"}), "$defs": definitions}


def slow() -> dict[str, Any]:
    """Outlasts the deadline of the checks."""
    return closed(a={"type": "integer", "multipleOf": 99_999_989})


def judged_again(abuse: Abuse, mark: str) -> None:
    """A new grammar finds a judge: one that died has been replaced."""
    answer = abuse.create(response_format=response_format(closed(a={"const": mark})), max_completion_tokens=60)
    assert json.loads(said(answer)) == {"a": mark}


def said(reply: raw.Reply) -> str:
    text = raw.json_of(reply)["choices"][0]["message"]["content"]
    assert isinstance(text, str)
    return text


def streamed(events: list[str]) -> str:
    assert events[-1] == "[DONE]"
    chunks = [json.loads(event) for event in events[:-1]]
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])


@pytest.fixture(scope="module")
def guarded() -> Iterator[RunningServer]:
    with running_server() as server:
        yield server


OUTSIDE: dict[str, tuple[dict[str, Any], str]] = {
    "root": ({"type": "array", "items": {"type": "integer"}}, "schema must be a JSON Schema of 'type: \"object\"'"),
    "keyword": (closed(a={"type": "string", "minLength": 1}), "In context=('properties', 'a'), 'minLength' is not"),
    "open": ({"type": "object", "properties": {}}, "In context=(), 'additionalProperties' is required"),
    "optional": ({**closed(a={"type": "integer"}), "required": []}, "Missing 'a'."),
    "no names": ({**closed(a={"type": "integer"}), "required": [{}]}, "'required' must be an array of strings."),
    "circle": ({**closed(a={"$ref": "#/$defs/a"}), "$defs": {"a": {"$ref": "#/$defs/a"}}}, "reference can only point"),
    "control token": (closed(**{"<|im_end|>": {"type": "frob"}}), "In context=('properties', '<|im_end|>')"),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_row_24_strict_schemas_outside_the_subset(tiny: Abuse, name: str) -> None:
    schema, reason = OUTSIDE[name]
    tools = [function(), function("g", schema, strict=True)]
    for stream in (False, True):
        strict = response_format(schema, strict=True)
        refused = tiny.refused(400, None, "response_format", response_format=strict, stream=stream)
        assert reason in refused.error["message"]
        refused = tiny.refused(
            400, "invalid_function_parameters", "tools[1].function.parameters", tools=tools, stream=stream
        )
        assert reason in refused.error["message"]


def test_row_24_a_remote_reference_is_never_followed(tiny: Abuse) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        for strict in (False, True):
            schema = closed(a={"$ref": f"http://localhost:{listener.getsockname()[1]}/schema"})
            refused = tiny.refused(400, None, "response_format", response_format=response_format(schema, strict=strict))
            assert "reference can only point to definitions" in refused.error["message"]
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_row_24_ordinary_recursion_is_legal(tiny: Abuse) -> None:
    node = closed(value={"type": "boolean"}, next={"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]})
    schema = {**closed(list={"$ref": "#/$defs/node"}), "$defs": {"node": node}}
    wanted: dict[str, Any] = {"response_format": response_format(schema, strict=True), "max_completion_tokens": 1000}
    for text in (said(tiny.create(**wanted)), streamed(tiny.stream(**wanted))):
        assert re.match(r'\{"list": ?\{"value": ?(true|false), ?"next": ?[{n]', text)


BOMBS: dict[str, Any] = {
    "200 levels": json.loads(nested(200)),
    "5,001 properties": closed(**{f"p{i}": {"type": "integer"} for i in range(5_001)}),
    "5,000 optional properties": {"type": "object", "properties": {f"p{i}": {} for i in range(5_000)}},
    "product": {"allOf": [{"anyOf": [closed(**{f"{c}{i}": {}}) for c in "ab"]} for i in range(20)]},
    "a long constant": closed(a={"const": "x" * 130_000}),
}
HUGE_BOMBS = BOMBS | {
    "branches": closed(a={"anyOf": [closed(**{f"{i}{j}": {"const": i} for j in range(20)}) for i in range(400)]}),
    "100,000 enum values": closed(a={"enum": [f"value {i}" for i in range(100_000)]}),
    "a megabyte of description": closed(a={"type": "integer", "description": "x" * 2**20}),
    "a megabyte of enum": closed(a={"enum": [f"{i:0999}" for i in range(1_000)]}),
}


COSTLY = {"5,000 optional properties", "branches"}
"""They burn seconds before they are refused; tests/grammar/test_check.py tries one of them in every run."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.large) if name in COSTLY else name for name in BOMBS]
)
def test_row_25_bombs(tiny: Abuse, name: str) -> None:
    """Refused, or within the limits and only too long for the context."""
    for strict in (False, True):
        bomb = response_format(closed(x=BOMBS[name]), strict=strict)
        refused = [tiny.create(response_format=bomb, stream=stream) for stream in (False, True)]
        refused.append(tiny.create(tools=[function(parameters=closed(x=BOMBS[name]), strict=strict)]))
        assert {reply.status for reply in refused} == {400}, refused
        assert all(len(reply.error["message"]) < 1000 for reply in refused)
    judged_again(tiny, name)


def test_row_25_ten_thousand_levels(tiny: Abuse) -> None:
    body = tiny.body(response_format=response_format("SCHEMA")).replace(b'"SCHEMA"', nested(10_000).encode())
    assert tiny.create(body).status == 400


def test_row_25_a_tree_of_references_is_never_written_out(tiny: Abuse) -> None:
    answer = tiny.create(response_format=response_format(reference_tree(24), strict=True), max_completion_tokens=100)
    assert said(answer).startswith('{"x": {"a": {"a": {"a": {"a": {')


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.large) if name in {*BOMBS, *COSTLY} else name for name in HUGE_BOMBS]
)
def test_row_25_bombs_do_not_hold_up_the_event_loop(guarded: RunningServer, name: str) -> None:
    """The guard of this server's loop sees every callback."""
    schema = closed(x=HUGE_BOMBS[name])
    for strict in (False, True):
        tools = [function(f"f{i}", schema, strict=strict) for i in range(2)]
        for fields in ({"response_format": response_format(schema, strict=strict)}, {"tools": tools}):
            reply = raw.send(guarded.port, raw.request("POST", CREATE, body=raw.chat(**fields)))
            assert reply.status in {200, 400}


def test_row_25_a_bomb_while_it_is_tried(tiny: Abuse) -> None:
    """It is tried once for all who ask; those who asked first leave, answers go on, and nobody is kept from being judged."""
    n_before = tiny.served.metric("requests_cancelled_total")
    bomb = response_format(slow(), strict=True)

    def asking(stack: ExitStack, *, stream: bool = False) -> socket.socket:
        sock = stack.enter_context(raw.connection(tiny.port))
        sock.sendall(tiny.request("POST", CREATE, body=tiny.body(response_format=bomb, stream=stream)))
        return sock

    with ExitStack() as staying:
        with ExitStack() as leaving:
            for stream in (False, True):
                asking(leaving, stream=stream)
            waiting = [asking(staying) for _ in range(50)]
            eventually(lambda: len(tiny.served.api.net_connections("tcp")) >= 1 + 2 + 50)
        eventually(lambda: tiny.served.metric("requests_cancelled_total") == n_before + 2)
        meanwhile = tiny.create(max_completion_tokens=200, logit_bias=NEVER_END)
        assert raw.json_of(meanwhile)["usage"]["completion_tokens"] == 200
        waiting[0].setblocking(False)
        with pytest.raises(BlockingIOError):  # it is still being tried
            waiting[0].recv(1)
        waiting[0].settimeout(60)
        replies = [tiny.keep(raw.read_reply(sock)) for sock in waiting]
    assert {reply.status for reply in replies} == {400}
    assert len({reply.body for reply in replies}) == 1
    assert "it is too complex" in replies[0].error["message"]
    judged_again(tiny, "beside")


def test_row_25_a_dead_end_that_shows_only_when_it_is_reached(tiny: Abuse) -> None:
    """No text can be written to its end; the trial takes a few steps, the answer finds out."""
    schema = closed(a={"type": "string", "const": "x" * 40}, b={"$ref": "#/$defs/none"})
    schema["$defs"] = {"none": {"type": "string", "enum": []}}
    fields: dict[str, Any] = {"response_format": response_format(schema), "max_completion_tokens": 300}
    refused = tiny.create(**fields)
    assert refused.status == 400
    assert tiny.create(stream=True, **fields).status in {200, 400}


PATTERNS = {
    "nested quantifiers": "^(a+)+$",
    "many counts": "^([a-z]{1,30}\\.){1,30}$",
    "alternatives": "^(a|aa|a?a?a)*b?$",
    "long look at the past": "^.*a.{300}$",
}


@pytest.mark.parametrize("name", PATTERNS)
def test_row_26_patterns_that_are_hard_for_others(tiny: Abuse, name: str) -> None:
    pattern = PATTERNS[name]
    fields: dict[str, Any] = {
        "response_format": response_format(closed(a={"type": "string", "pattern": pattern}), strict=True),
        "max_completion_tokens": 600,
        "logit_bias": {str(token_of(character)): 60 for character in 'a."'},  # what ends it
    }
    for text in (said(tiny.create(**fields)), streamed(tiny.stream(**fields))):
        try:
            value = json.loads(text)["a"]
        except ValueError:
            assert len(text) > 300, text  # cut by the limit
        else:
            assert re.fullmatch(pattern.strip("^$"), value, re.DOTALL)


@pytest.mark.parametrize(
    "pattern", ["((a{0,1000}){0,1000}){0,1000}", "(?=a)b", "(a", "*a", "(?<!a)b", r"\1", "a{99999999999}", "[z-a]"]
)
def test_row_26_patterns_that_are_refused(tiny: Abuse, pattern: str) -> None:
    for strict in (False, True):
        schema = closed(a={"type": "string", "pattern": pattern})
        refused = tiny.refused(400, None, "response_format", response_format=response_format(schema, strict=strict))
        assert "In context=('properties', 'a'), 'pattern' is not permitted." in refused.error["message"]


HOSTILE_GRAMMARS: dict[str, tuple[str, str]] = {
    "60,000 parentheses": ("lark", "start: " + "(" * 60_000 + '"a"' + ")" * 60_000),
    "a chain of rules": ("lark", "start: r0\n" + "".join(f"r{i}: r{i + 1}\n" for i in range(4_000)) + 'r4000: "a"'),
    "import of a file": ("lark", '%import "/etc/passwd" (X)\nstart: X'),
    "50,000 groups": ("regex", "(a)" * 50_000),
    "nothing fits": ("regex", r"[^\s\S]"),
    "nothing ends": ("lark", 'start: "a" start'),
    "only itself": ("lark", "start: start"),
    "a circle": ("lark", 'start: a\na: b "x"\nb: a "y"'),
    "doubling": ("lark", "start: T0\n" + "".join(f"T{i}: T{i + 1} T{i + 1}\n" for i in range(30)) + 'T30: "a"'),
    "a control token": ("lark", "start: <|im_end|>"),
    "a control token by number": ("lark", "start: <[0]>"),
    "a directive": ("lark", "%declare A\nstart: A"),
    "a grammar of ours": ("lark", "start: @client_0"),
    "too long a repetition": ("lark", 'start: "ab" {1000000}'),
    "NUL": ("lark", "start: \0"),
}


@pytest.mark.parametrize("name", HOSTILE_GRAMMARS)
def test_row_27_grammars_that_are_refused(tiny: Abuse, name: str) -> None:
    syntax, definition = HOSTILE_GRAMMARS[name]
    for stream in (False, True):
        refused = tiny.refused(400, None, GRAMMAR_PARAM, tools=[custom(syntax, definition)], stream=stream)
        assert refused.error["message"].startswith(f"Invalid {syntax} grammar: ")
    judged_again(tiny, name)


WORKING_GRAMMARS: dict[str, tuple[str, str, str]] = {
    "left recursion": ("lark", 'start: start "a" | "b"', "ba*"),
    "ambiguity": ("lark", 'start: e\ne: e e | e "+" e | "a" | /[ab]+/', "[ab+]+"),
    "empty": ("lark", 'start: ""', ""),
    "controls spelt": ("lark", r'start: "<|im_end|>\"}\n</tool_call>"', r'<\|im_end\|>"}\n</tool_call>'),
    "swallowing the end": ("regex", r'-[0-9]"+', '-[0-9]"*'),
    "closing of a call inside": ("regex", r'("\}|<tool_call>)[ab]', r'("}|<tool_call>)[ab]'),
}


@pytest.mark.parametrize("name", WORKING_GRAMMARS)
def test_row_27_grammars_that_work(tiny: Abuse, name: str) -> None:
    """A call that was not cut has what the grammar says, and nothing of what stands around it."""
    syntax, definition, expected = WORKING_GRAMMARS[name]
    fields: dict[str, Any] = {
        "tools": [custom(syntax, definition)],
        "tool_choice": {"type": "custom", "custom": {"name": "custom"}},
        "max_completion_tokens": 300,
        "parallel_tool_calls": False,
        "logit_bias": {str(token_of('"')): 60},
    }
    (choice,) = raw.json_of(tiny.create(**fields))["choices"]
    (call,) = choice["message"]["tool_calls"]
    if choice["finish_reason"] == "stop":
        assert re.fullmatch(expected, call["custom"]["input"])
    assert tiny.stream(**fields)[-1] == "[DONE]"


ONE_OF_TWO = response_format(closed(a={"type": "string", "enum": ["b", "c"]}), strict=True)


def test_a_bias_against_all_that_a_grammar_allows_changes_nothing(tiny: Abuse) -> None:
    banned = {str(token): -100 for token in range(257)}
    answer = tiny.create(response_format=ONE_OF_TWO, logit_bias=banned, max_completion_tokens=60)
    assert json.loads(said(answer))["a"] in {"b", "c"}


def test_as_many_choices_as_may_be_all_fit_their_schema(tiny: Abuse) -> None:
    fields: dict[str, Any] = {"n": 128, "response_format": ONE_OF_TWO, "max_completion_tokens": 60}
    choices = raw.json_of(tiny.create(**fields))["choices"]
    assert len(choices) == 128
    assert {json.loads(choice["message"]["content"])["a"] for choice in choices} <= {"b", "c"}
    assert tiny.stream(**fields)[-1] == "[DONE]"


def test_one_token_of_a_schema_is_cut_by_length(tiny: Abuse) -> None:
    (choice,) = raw.json_of(tiny.create(response_format=ONE_OF_TWO, max_completion_tokens=1))["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("{", "length")


def test_more_of_a_grammar_than_the_context_holds_ends_with_length(tiny: Abuse) -> None:
    tools = [custom("lark", 'start: ("' + "ab" * 100 + '"){40}')]
    (choice,) = raw.json_of(tiny.create(tools=tools, tool_choice="required", max_completion_tokens=10_000))["choices"]
    assert choice["finish_reason"] == "length"
    assert set(choice["message"]["tool_calls"][0]["custom"]["input"]) == {"a", "b"}


def test_a_stop_string_inside_json_cuts_it(tiny: Abuse) -> None:
    """The client asked for both; a stop string acts on what is shown."""
    constant = response_format(closed(a={"type": "string", "const": "b"}), strict=True)
    fields: dict[str, Any] = {"response_format": constant, "stop": '"b', "max_completion_tokens": 40}
    for text in (said(tiny.create(**fields)), streamed(tiny.stream(**fields))):
        assert text.replace(" ", "") == '{"a":'
