"""Conversations to try a chat template with: the roles, tools and texts that clients send, as a template sees them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from completionist.dialects.history import Call, Turn
from completionist.local.template import Message

_TEXTS = (
    "Hello!",
    "  blanks around \n\n",
    "two\nlines",
    "",
    "<b>html</b> & 'quotes' \"double\" \\n {{ braces }} {% raw %}",
    "\u5c71\u3068\u5ddd \U0001f3d4\ufe0f \u00e9t\u00e9",
    "<think>\nWell.\n</think>\n\nThe answer.",
    "a\tb\r\nc",
)
_ROLES: Mapping[str, Any] = {"u": "user", "s": "system", "a": "assistant"}
_SHAPES = ("u", "su", "uau", "suau", "uaua", "sua", "suausu", "au", "s", "uu", "uauau", "ssu")
_TOOLS: Sequence[Mapping[str, Any]] = (
    {
        "type": "function",
        "function": {
            "name": "get_tide",
            "description": 'The tide at a <harbour> & its "time".\nMetres.',
            "parameters": {
                "type": "object",
                "properties": {
                    "harbour": {"type": "string", "description": "Where, e.g. 'Saint-Malo' \u00e9"},
                    "days": {"type": "integer", "minimum": 1},
                    "unit": {"type": "string", "enum": ["m", "ft"]},
                    "at": {"type": "array", "items": {"type": "number"}},
                    "step": {"type": "number", "minimum": 0.0, "maximum": 1e20, "default": 1e-05},
                },
                "required": ["harbour"],
            },
        },
    },
    {
        "type": "function",
        "function": {"name": "now", "description": "", "parameters": {"type": "object", "properties": {}}},
    },
)
_CALL = Call(
    "call0abcd",
    "get_tide",
    '{"harbour": "Brest", "days": 2, "unit": null, "at": [1.5, 2, 3.0], "step": 1.0, "deep": {"a": [true, 1e20]}}',
)
_OTHER = Call("call1abcd", "now", "{}")


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """The variables of one rendering."""

    name: str
    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] = ()
    switches: Mapping[str, str | bool] = {}


def trials() -> tuple[Trial, ...]:
    """All of them, always the same."""
    return (*_chats(), *_with_tools(), *_with_switches())


def _chats() -> Iterator[Trial]:
    """Every shape with every text in every place."""
    for shape in _SHAPES:
        for offset in range(len(_TEXTS)):
            turns = [
                Turn(role=_ROLES[role], content=_TEXTS[(i + offset) % len(_TEXTS)]) for i, role in enumerate(shape)
            ]
            yield _trial(f"{shape}, text {offset + 1}", turns)
    yield _trial(
        "names", [Turn(role="user", content="Hi.", name="ada"), Turn(role="assistant", content="Hi.", name="bot")]
    )


def _with_tools() -> Iterator[Trial]:
    asked = Turn(role="user", content="What is the tide?")
    called = Turn(role="assistant", content="", calls=(_CALL,))
    both = Turn(role="assistant", content="I look.", calls=(_CALL, _OTHER))
    result = Turn(role="tool", content='{"metres": 3.2, "text": "h\u00f6her"}', answers=_CALL.id, name="get_tide")
    other = Turn(role="tool", content="12:00", answers=_OTHER.id, name="now")
    said = Turn(role="assistant", content="Three metres.")
    system = Turn(role="system", content="Be brief.")
    shapes: Mapping[str, Sequence[Turn]] = {
        "tools offered": (asked,),
        "tools offered under a system text": (system, asked),
        "a call": (asked, called),
        "a call and its result": (asked, called, result),
        "a call, its result and on": (system, asked, called, result, said, asked),
        "two calls with words": (asked, both, result, other),
        "two calls, results and on": (asked, both, result, other, said, asked),
    }
    for name, turns in shapes.items():
        yield _trial(name, turns, tools=_TOOLS)
        yield _trial(f"{name}, arguments as text", turns, tools=_TOOLS, has_text_arguments=True)
        yield _trial(
            f"{name}, content none", [_silenced(turn) for turn in turns], tools=_TOOLS, has_text_arguments=True
        )
    yield _trial("a call without tools on offer", shapes["a call and its result"])


def _with_switches() -> Iterator[Trial]:
    turns = [
        Turn(role="user", content="Why?"),
        Turn(role="assistant", content=_TEXTS[6]),
        Turn(role="user", content="So?"),
    ]
    for name, value in (
        ("enable_thinking", True),
        ("enable_thinking", False),
        ("thinking", True),
        ("thinking", False),
        ("reasoning_effort", "high"),
    ):
        yield _trial(f"{name} {value}", turns, switches={name: value})
        yield _trial(f"{name} {value}, tools", turns, tools=_TOOLS, switches={name: value})


def _silenced(turn: Turn) -> Turn:
    return msgspec.structs.replace(turn, content=None) if turn.calls else turn


def _trial(
    name: str,
    turns: Sequence[Turn],
    *,
    tools: Sequence[Mapping[str, Any]] = (),
    has_text_arguments: bool = False,
    switches: Mapping[str, str | bool] | None = None,
) -> Trial:
    messages = tuple(turn.as_message(has_text_arguments=has_text_arguments) for turn in turns)
    return Trial(name=name, messages=messages, tools=tuple(tools), switches=switches or {})
