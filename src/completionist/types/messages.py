"""Messages of a conversation, a union by `role` (contract, sections 3.1, 3.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from completionist.errors import InvalidRequest, InvalidValue, MissingParameter
from completionist.types.parts import (
    AUDIO_PART,
    FILE_PART,
    IMAGE_PART,
    PART_TYPES,
    REFUSAL_PART,
    TEXT_PART,
    Part,
    RefusalPart,
    TextPart,
    part_of,
)
from completionist.types.readers import (
    FREE_TEXT,
    NAME,
    TEXT,
    Array,
    Nullable,
    Object,
    Reader,
    StringOr,
    Tagged,
    Value,
    ignored,
    optional,
    required,
)
from completionist.types.refusals import NullContent
from completionist.types.tools import CALLED_FUNCTION, TOOL_CALLS, CalledFunction, ToolCall


def text_of(content: str | Sequence[Part] | None) -> str:
    """The words of `content`: text and refusal parts in order, with nothing between them.

    Clients cut one text into parts to mark cache breakpoints or to weave pictures in; blanks and line ends that belong
    between two parts are in the parts, and any glue of ours would change the prompt.
    """
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(
        part.text if isinstance(part, TextPart) else part.refusal
        for part in content
        if isinstance(part, TextPart | RefusalPart)
    )


class _Said(msgspec.Struct, frozen=True, kw_only=True):
    content: str | tuple[Part, ...] | None

    @property
    def text(self) -> str:
        """What the prompt shows of this message."""
        return text_of(self.content)


class SystemMessage(_Said, frozen=True, kw_only=True):
    role: Literal["system"] = "system"
    content: str | tuple[TextPart, ...]
    name: str | None = None


class DeveloperMessage(_Said, frozen=True, kw_only=True):
    role: Literal["developer"] = "developer"
    content: str | tuple[TextPart, ...]
    name: str | None = None


class UserMessage(_Said, frozen=True, kw_only=True):
    role: Literal["user"] = "user"
    content: str | tuple[Part, ...]
    name: str | None = None


class AudioReference(msgspec.Struct, frozen=True, kw_only=True):
    """An earlier audio answer, by its id."""

    id: str


class AssistantMessage(_Said, frozen=True, kw_only=True):
    """`content` is None only beside `tool_calls`, `function_call`, `audio` or `refusal`."""

    role: Literal["assistant"] = "assistant"
    content: str | tuple[TextPart | RefusalPart, ...] | None = None
    name: str | None = None
    refusal: str | None = None
    tool_calls: tuple[ToolCall, ...] | None = None
    function_call: CalledFunction | None = None
    audio: AudioReference | None = None

    @property
    def text(self) -> str:
        """What the assistant said. A refusal is said in words too, mostly in place of content."""
        return text_of(self.content) + (self.refusal or "")


class ToolMessage(_Said, frozen=True, kw_only=True):
    role: Literal["tool"] = "tool"
    content: str | tuple[TextPart, ...]
    tool_call_id: str


class FunctionMessage(_Said, frozen=True, kw_only=True):
    role: Literal["function"] = "function"
    content: str | None
    name: str


Message = SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage | FunctionMessage


class _Content(StringOr[tuple[Any, ...]]):
    """A string or parts; null has a text of its own."""

    def __init__(self, **parts: Reader[Any]) -> None:
        super().__init__(Array(part_of(parts)), text=TEXT, expected="one of a string or array of objects")

    def wrong_type(self, value: object, at: str) -> InvalidRequest:
        return NullContent(at) if value is None else super().wrong_type(value, at)


class _AssistantContent(_Content):
    """A refusal part stands alone in its array."""

    def read(self, value: Value, at: str) -> str | tuple[Any, ...]:
        content = super().read(value, at)
        if isinstance(content, tuple) and len(content) > 1:
            _check_no_refusal(content, at)
        return content


def _check_no_refusal(content: tuple[Any, ...], at: str) -> None:
    for i, part in enumerate(content):
        if isinstance(part, RefusalPart):
            raise InvalidValue(f"{at}[{i}].type", "refusal", PART_TYPES)


def _has_stand_in(value: Mapping[str, Any]) -> bool:
    return any(value.get(name) is not None for name in ("tool_calls", "function_call", "audio", "refusal"))


def with_content(messages: object) -> object:
    """Decoded messages; those of users and assistants that say nothing say it as an empty text."""
    return [_with_content(message) for message in messages] if isinstance(messages, list) else messages


def _with_content(message: object) -> object:
    if not isinstance(message, dict) or message.get("content") is not None or _has_stand_in(message):
        return message
    return {**message, "content": ""} if message.get("role") in ("user", "assistant") else message


def _check_assistant(value: Mapping[str, Any], at: str) -> None:
    """Content is needed unless something else stands in its place."""
    if value.get("content") is not None or _has_stand_in(value):
        return
    raise NullContent(f"{at}.content") if "content" in value else MissingParameter(f"{at}.content")


_ROLE = ignored("role")
_NAME = optional("name", NAME)
_TEXTS = _Content(text=TEXT_PART)
_USER_CONTENT = _Content(text=TEXT_PART, image_url=IMAGE_PART, input_audio=AUDIO_PART, file=FILE_PART)
_ASSISTANT_CONTENT = _AssistantContent(text=TEXT_PART, refusal=REFUSAL_PART)

# An answer of ours may come back as the client library dumped it: with nulls, with annotations, with the thinking that an
# operator lets be seen, and with the sound beside its id. These say nothing new, so they are let through (section 3.4).
_AUDIO = Object(
    AudioReference, required("id", FREE_TEXT), ignored("data"), ignored("expires_at"), ignored("transcript")
)

_BY_ROLE: dict[str, Reader[Any]] = {
    "system": Object(SystemMessage, _ROLE, required("content", _TEXTS), _NAME),
    "developer": Object(DeveloperMessage, _ROLE, required("content", _TEXTS), _NAME),
    "user": Object(UserMessage, _ROLE, required("content", _USER_CONTENT), _NAME),
    "assistant": Object(
        AssistantMessage,
        _ROLE,
        optional("content", Nullable(_ASSISTANT_CONTENT)),
        _NAME,
        optional("refusal", Nullable(TEXT)),
        optional("tool_calls", Nullable(TOOL_CALLS)),
        optional("function_call", Nullable(CALLED_FUNCTION)),
        optional("audio", Nullable(_AUDIO)),
        ignored("annotations"),
        ignored("reasoning_content"),
        demand=_check_assistant,
    ),
    "tool": Object(ToolMessage, _ROLE, required("content", _TEXTS), required("tool_call_id", FREE_TEXT)),
    "function": Object(FunctionMessage, _ROLE, required("content", Nullable(TEXT)), required("name", NAME)),
}

MESSAGES: Array[Message] = Array(
    Tagged("role", _BY_ROLE, listed=("system", "assistant", "user", "function", "tool", "developer"))
)
