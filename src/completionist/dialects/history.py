"""Earlier calls and results, on their way into a prompt.

Clients send calls as OpenAI's objects. Templates take much the same dictionaries, each with its own limits; models
without a template for tools read everything as text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from completionist.grammar.forms import INPUT_KEY
from completionist.types.messages import AssistantMessage, FunctionMessage, Message, ToolMessage
from completionist.types.schemas import MAX_NESTING, nesting
from completionist.types.tools import FunctionToolCall, ToolCall

_ID_CHARACTERS = 9


class Call(msgspec.Struct, frozen=True):
    """`arguments` is text, JSON in almost every case. A custom tool's input is the argument `input`."""

    id: str
    name: str
    arguments: str

    @property
    def json(self) -> str:
        """As text inside a prompt."""
        return f'{{"name": {_dumped(self.name)}, "arguments": {_dumped(_decoded(self.arguments))}}}'


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One message, all roles alike."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str | None
    """None only beside calls, where a template wants it so."""
    calls: tuple[Call, ...] = ()
    answers: str = ""
    """The id of the call that a tool turn answers."""
    name: str | None = None
    """The participant; in a tool turn the tool."""

    def as_message(self, *, has_text_arguments: bool = False) -> Mapping[str, Any]:
        """What templates expect: keys that say nothing are left out, for some templates ask which are there."""
        message: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.name is not None:
            message["name"] = self.name
        if self.calls:
            message["tool_calls"] = [_template_call(call, has_text_arguments) for call in self.calls]
        if self.role == "tool":
            message["tool_call_id"] = self.answers
        return message


class History(msgspec.Struct, frozen=True, kw_only=True):
    """What a family's template cannot take."""

    max_calls_per_turn: int | None = None
    has_short_ids: bool = False
    """Ids must have nine letters and digits."""
    is_alternating: bool = False
    """Calls and results apart, user and assistant take turns."""
    has_silent_calls: bool = False
    """A turn has either text or calls."""
    has_text_arguments: bool = False
    """The template writes arguments as they are, and fails on anything but text."""
    is_text: bool = False
    """The template knows neither calls nor results."""


def turns_of(messages: Sequence[Message]) -> list[Turn]:
    """Legacy function messages answer the call before them, which had no id."""
    turns: list[Turn] = []
    names: dict[str, str] = {}
    for i, message in enumerate(messages):
        match message:
            case AssistantMessage():
                calls = _calls(message, i)
                names.update({call.id: call.name for call in calls})
                turns.append(Turn(role="assistant", content=message.text, calls=calls, name=message.name))
            case ToolMessage(tool_call_id=call_id):
                turns.append(Turn(role="tool", content=message.text, answers=call_id, name=names.get(call_id)))
            case FunctionMessage(name=name):
                answers = turns[-1].calls[0].id if turns and turns[-1].calls else name
                turns.append(Turn(role="tool", content=message.text, answers=answers, name=name))
            case _:
                role: Literal["system", "user"] = "user" if message.role == "user" else "system"
                turns.append(Turn(role=role, content=message.text, name=message.name))
    return turns


def _calls(message: AssistantMessage, position: int) -> tuple[Call, ...]:
    if message.function_call is not None:
        called = message.function_call
        return (Call(f"call_{position}", called.name, called.arguments),)
    return tuple(map(_call, message.tool_calls or ()))


def _call(call: ToolCall) -> Call:
    if isinstance(call, FunctionToolCall):
        return Call(call.id, call.function.name, call.function.arguments)
    return Call(call.id, call.custom.name, _dumped({INPUT_KEY: call.custom.input}))


def _template_call(call: Call, has_text_arguments: bool) -> dict[str, Any]:
    arguments = call.arguments if has_text_arguments else _decoded(call.arguments)
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _decoded(arguments: str) -> object:
    """Templates write arguments with `tojson`; what is no JSON stays a string, as it was sent, and so does a maze."""
    try:
        decoded = json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments
    return decoded if nesting(decoded) <= MAX_NESTING else arguments


def _dumped(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def written_for(history: History, turns: Sequence[Turn]) -> list[Turn]:
    if history.is_text:
        return list(_as_text(turns))
    if history.has_short_ids:
        turns = [_with_short_ids(turn) for turn in turns]
    if history.max_calls_per_turn is not None:
        turns = _spread(turns, history.max_calls_per_turn)
    if history.has_silent_calls:
        turns = [part for turn in turns for part in _silenced(turn)]
    return _alternated(turns) if history.is_alternating else list(turns)


def _silenced(turn: Turn) -> list[Turn]:
    if not turn.calls:
        return [turn]
    silent = msgspec.structs.replace(turn, content=None)
    return [Turn(role=turn.role, content=turn.content, name=turn.name), silent] if turn.content else [silent]


def _alternated(turns: Sequence[Turn]) -> list[Turn]:
    """An answer without words between results and a user who did not wait for one."""
    alternated: list[Turn] = []
    for turn in turns:
        if turn.role == "user" and alternated and alternated[-1].role == "tool":
            alternated.append(Turn(role="assistant", content=""))
        alternated.append(turn)
    return alternated


def _with_short_ids(turn: Turn) -> Turn:
    calls = tuple(Call(_short(call.id), call.name, call.arguments) for call in turn.calls)
    return msgspec.structs.replace(turn, calls=calls, answers=_short(turn.answers) if turn.answers else "")


def _short(call_id: str) -> str:
    return hashlib.sha256(call_id.encode()).hexdigest()[:_ID_CHARACTERS]


def _spread(turns: Sequence[Turn], n_calls: int) -> list[Turn]:
    """At most `n_calls` to a turn, each followed by its results: the same story, told call by call."""
    spread: list[Turn] = []
    i = 0
    while i < len(turns):
        turn = turns[i]
        i += 1
        if len(turn.calls) <= n_calls:
            spread.append(turn)
            continue
        results: list[Turn] = []
        while i < len(turns) and turns[i].role == "tool":
            results.append(turns[i])
            i += 1
        for start in range(0, len(turn.calls), n_calls):
            calls = turn.calls[start : start + n_calls]
            spread.append(msgspec.structs.replace(turn, calls=calls, content=turn.content if start == 0 else ""))
            answered = {call.id for call in calls}
            spread += [result for result in results if result.answers in answered]
    return spread


def _as_text(turns: Sequence[Turn]) -> Iterator[Turn]:
    """Calls in the instructed form; the results that follow one another as one user turn."""
    results: list[str] = []
    for turn in turns:
        if turn.role == "tool":
            results.append(f"Result of {turn.name or 'the call'}:\n{turn.content}")
            continue
        if results and turn.role == "user":
            yield Turn(role="user", content="\n\n".join([*results, turn.content or ""]), name=turn.name)
            results = []
            continue
        if results:
            yield _results(results)
            results = []
        yield _with_calls_as_text(turn)
    if results:
        yield _results(results)


def _results(results: Sequence[str]) -> Turn:
    return Turn(role="user", content="\n\n".join([*results, _REQUEST]))


_REQUEST = "Answer my request in words, using this result. Do not call a function."
"""Of the wordings tried with a model of 0.5B the one after which it answers, and still makes a second call where the request
asks for two things; any mention of further calls made it invent one."""


def _with_calls_as_text(turn: Turn) -> Turn:
    if not turn.calls:
        return turn
    calls = [f"<tool_call>\n{call.json}\n</tool_call>" for call in turn.calls]
    return Turn(role=turn.role, content="\n".join(filter(None, [turn.content, *calls])), name=turn.name)
