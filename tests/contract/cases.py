"""What is asked to see the shape of answers: one row a feature. A new feature is a new row.

A scripted row plays `moves` (for each choice), and is asked of the scripted engine; a row without them is asked of the real
model. Every row is asked plain, streamed, and streamed with usage and without obfuscation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from completionist.engine.base import PlainText, Prompt
from completionist.engine.scripted import Move, pieces

TEXT = "High water is at six, low water at noon: «à bientôt», said the sea 🌊."


class Case(NamedTuple):
    """`fields` go into the request; `finish` is what every choice ends with, if a limit does not end it: empty for a model that
    may do as it likes."""

    name: str
    fields: Mapping[str, Any]
    finish: str = "stop"
    moves: Sequence[Move] | None = None
    content: str | None = None
    """What choices say, where that is known; those of a script that is played to its end say its text."""

    @property
    def key(self) -> str:
        """Stands in the prompt, so that one server can play every script."""
        return f"[{self.name}]"


def scripted(name: str, text: str = TEXT, *, finish: str = "stop", content: str | None = None, **fields: Any) -> Case:
    said = text if content is None else content
    return Case(name, fields, finish, pieces(text), said)


def split_bytes(name: str, text: str, **fields: Any) -> Case:
    """One byte a token."""
    return Case(name, fields, "stop", [bytes([byte]) for byte in text.encode()], text)


TIDE = {
    "type": "function",
    "function": {"name": "get_tide", "parameters": {"type": "object", "properties": {"harbour": {"type": "string"}}}},
}
SQL = {"type": "custom", "custom": {"name": "run_sql"}}


def custom(name: str, syntax: str, definition: str) -> dict[str, Any]:
    grammar = {"type": "grammar", "grammar": {"syntax": syntax, "definition": definition}}
    return {"type": "custom", "custom": {"name": name, "format": grammar}}


DIAL = custom("dial", "regex", r"\+33[0-9]{3}")
STEER = custom("steer", "lark", 'start: SIDE " " DEGREES\nSIDE: "port" | "starboard"\nDEGREES: /[0-9]{1,2}/')
ALL_TOOLS = (TIDE, SQL, DIAL, STEER)


def named(kind: str, name: str) -> dict[str, Any]:
    return {"type": kind, kind: {"name": name}}


def allowed(mode: str, *choices: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": list(choices)}}


ARGUMENTS = '{"harbour": "Brest"}'


def call(name: str, arguments: str = ARGUMENTS) -> str:
    """As the scripted model's family writes it."""
    return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


def called(name: str, text: str, *, finish: str = "tool_calls", words: str | None = None, **fields: Any) -> Case:
    """`words`: what is said beside the calls."""
    return Case(name, fields, finish, pieces(text), words)


BRIEF = {
    "type": "object",
    "properties": {"hour": {"type": "integer"}},
    "required": ["hour"],
    "additionalProperties": False,
}


def schema(name: str, wanted: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": name, "schema": wanted, **more}}


SCRIPTED = (
    scripted("text"),
    scripted("several choices", n=3),
    scripted("many choices", "yes", n=40),
    scripted("empty", ""),
    scripted("token limit", max_completion_tokens=2, finish="length", content="High water"),
    scripted("older token limit", max_tokens=1, finish="length", content="High"),
    scripted("stop string", stop=["noon", "never"], content="High water is at six, low water at "),
    scripted("stop string across tokens", stop="six, low", content="High water is at "),
    scripted("stop at once", stop="High", content=""),
    scripted("logprobs", logprobs=True),
    scripted("top logprobs", logprobs=True, top_logprobs=3, n=2),
    scripted("logprobs of nothing", "", logprobs=True),
    scripted("logprobs up to a stop string", logprobs=True, top_logprobs=1, stop="water", content="High "),
    split_bytes("split characters", "à 🌊 ß"),
    split_bytes("split characters with logprobs", "à 🌊 ß", logprobs=True, top_logprobs=2),
    scripted("sampling", temperature=0.3, top_p=0.5, seed=7, presence_penalty=1, frequency_penalty=-1),
    scripted("bias", logit_bias={"7": -100}),
    scripted("flex", service_tier="flex"),
    scripted("priority", service_tier="fast"),
    scripted("verbosity", verbosity="low"),
    scripted("cache", prompt_cache_key="k", prompt_cache_retention="24h", prompt_cache_options={"mode": "explicit"}),
    scripted("who asks", user="u", safety_identifier="s", metadata={"team": "blue"}, store=False),
    scripted("asks for text", modalities=["text"], response_format={"type": "text"}),
    scripted("json", '{"hour": 6}', response_format={"type": "json_object"}, logprobs=True),
    scripted(
        "schema", '{"hour":6}',
        response_format=schema("b", BRIEF, strict=True),
    ),
    called("function call", call("get_tide"), tools=[TIDE]),
    called("function call of several choices", call("get_tide"), tools=[TIDE], n=3),
    called("function call with logprobs", call("get_tide"), tools=[TIDE], logprobs=True, top_logprobs=1),
    called("several calls", call("get_tide") + "\n" + call("get_tide"), tools=[TIDE]),
    called("words and a call", f"Let me look.\n{call('get_tide')}", tools=[TIDE], words="Let me look.", logprobs=True),
    called("forced call", call("get_tide"), tools=[TIDE], finish="stop",
           tool_choice={"type": "function", "function": {"name": "get_tide"}}),
    called("words with tools", "It is at six.", tools=[TIDE], finish="stop", words="It is at six."),
    called("no choice of tools", "It is at six.", tools=[TIDE], tool_choice="none", finish="stop", words="It is at six."),
    called("legacy call", call("get_tide"), functions=[TIDE["function"]], finish="function_call"),
    called("legacy call by name", call("get_tide"), functions=[TIDE["function"]], function_call={"name": "get_tide"},
           finish="stop"),
    called("no legacy call", "At six.", functions=[TIDE["function"]], function_call="none", finish="stop", words="At six.",
           logprobs=True),
    called("legacy call of several choices", call("get_tide"), functions=[TIDE["function"]], n=2, finish="function_call"),
    called("custom call", call("run_sql", '{"input": "SELECT depth"}'), tools=[SQL]),
    called("custom call of a regex", call("dial", '{"input": "+33123"}'), tools=[DIAL]),
    called("custom call of a lark grammar", call("steer", '{"input": "port 5"}'), tools=[STEER], finish="stop",
           tool_choice=named("custom", "steer"), parallel_tool_calls=False),
    called("an allowed call", call("get_tide"), tools=ALL_TOOLS, tool_choice=allowed("auto", TIDE)),
    called("a required call up to a stop string", call("get_tide"), tools=[TIDE], tool_choice="required", stop="Brest"),
    called("words up to a stop string", f"Let me look.\n{call('get_tide')}", tools=[TIDE], stop="look", finish="stop",
           words="Let me "),
    called("words and a call cut off", f"Let me look.\n{call('get_tide')}", tools=[TIDE], max_tokens=5, finish="length",
           words="Let me look."),
    called("a schema beside tools", '{"hour": 6}', tools=[TIDE], finish="stop", words='{"hour": 6}', logprobs=True,
           response_format=schema("b", BRIEF)),
    called("a call beside a schema", call("get_tide"), tools=[TIDE],
           response_format=schema("b", BRIEF)),
    scripted("prediction", prediction={"type": "content", "content": TEXT}, max_tokens=4, finish="length",
             content="High water is at"),
    scripted("breakpoints", prompt_cache_options={"ttl": "30m"}, reasoning_effort="none"),
    called("both kinds of calls", call("run_sql", '{"input": "SELECT 1"}') + call("get_tide"), tools=[SQL, TIDE]),
)  # fmt: skip

REAL = (
    # The same features of a model. Rows with tools share them, so that the prompt stays in the prefix cache.
    Case("text", {}, finish=""),
    Case("several choices", {"n": 2, "temperature": 0.9, "seed": 3}, finish=""),
    Case("logprobs", {"logprobs": True, "top_logprobs": 2}, finish=""),
    Case("stop string", {"stop": ["a", "e", "i", "o"]}),
    Case("verbosity and tier", {"verbosity": "low", "service_tier": "priority"}, finish=""),
    Case("penalties and bias", {"presence_penalty": 1, "logit_bias": {"30": 5}, "logprobs": True}, finish=""),
    Case("cache", {"prompt_cache_options": {"mode": "explicit"}, "prompt_cache_key": "k"}, finish=""),
    Case("prediction", {"prediction": {"type": "content", "content": "The sea is a vast"}, "max_tokens": 6}, finish=""),
    Case("no reasoning", {"reasoning_effort": "none"}, finish=""),
    Case("json", {"response_format": {"type": "json_object"}}, finish=""),
    Case("strict schema", {"response_format": schema("b", BRIEF, strict=True), "logprobs": True}, finish=""),
    Case("loose schema", {"response_format": schema("b", {"properties": BRIEF["properties"]})}, finish=""),
    Case("tools at will", {"tools": ALL_TOOLS}, finish=""),
    Case("no choice of tools", {"tools": ALL_TOOLS, "tool_choice": "none", "logprobs": True}, finish=""),
    Case("required call", {"tools": ALL_TOOLS, "tool_choice": "required", "logprobs": True}, finish="tool_calls"),
    Case("calls of several choices", {"tools": ALL_TOOLS, "tool_choice": "required", "n": 2, "seed": 4}, "tool_calls"),
    Case("function by name", {"tools": ALL_TOOLS, "tool_choice": named("function", "get_tide")}),
    Case("custom tool by name", {"tools": ALL_TOOLS, "tool_choice": named("custom", "run_sql")}),
    Case("custom tool of a regex", {"tools": ALL_TOOLS, "tool_choice": named("custom", "dial")}),
    Case("custom tool of a lark grammar", {"tools": ALL_TOOLS, "tool_choice": named("custom", "steer")}),
    Case(
        "allowed tools",
        {"tools": ALL_TOOLS, "tool_choice": allowed("required", SQL, TIDE), "parallel_tool_calls": False},
        finish="tool_calls",
    ),
    Case("tools and a schema", {"tools": ALL_TOOLS, "response_format": schema("b", BRIEF)}, finish=""),
    Case("legacy function", {"functions": [TIDE["function"]], "function_call": {"name": "get_tide"}}),
)


def play(prompt: Prompt) -> Sequence[Sequence[Move]]:
    """The script of every scripted row."""
    text = "".join(segment.text for segment in prompt.segments if isinstance(segment, PlainText))
    (case,) = (case for case in SCRIPTED if case.key in text)
    return [case.moves or ()] * prompt.n
