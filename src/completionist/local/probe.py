"""What a model's template and dialect really do, found by trying them: which conversations it takes, whether a call comes back.

Nothing here asks the model; `start` the renderer before use.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import msgspec

from completionist.dialects.base import Dialect
from completionist.dialects.offer import offer_of
from completionist.dialects.parser import CallBegan, CallPiece
from completionist.engine.base import ControlToken, ModelCard, PlainText, Segment
from completionist.errors import ChatTemplateFailed, ChatTemplateRefusal
from completionist.local.prepare import question_of
from completionist.local.renderer import Renderer
from completionist.text.channels import as_control
from completionist.types.messages import AssistantMessage, Message, SystemMessage, ToolMessage, UserMessage
from completionist.types.request import ChatRequest
from completionist.types.tools import CalledFunction, FunctionDefinition, FunctionTool, FunctionToolCall, Tool

TOOL = FunctionTool(
    function=FunctionDefinition(
        name="get_tide",
        description="The height of the tide in a harbour.",
        parameters={"type": "object", "properties": {"harbour": {"type": "string"}}, "required": ["harbour"]},
    )
)
_ARGUMENTS = '{"harbour": "Brest"}'
_ASKED = UserMessage(content="How high is the tide in Brest?")
_SAID = AssistantMessage(content="It is three metres high.")
_CALLED = AssistantMessage(
    tool_calls=(FunctionToolCall(id="call_probe_1", function=CalledFunction(name="get_tide", arguments=_ARGUMENTS)),)
)
_RESULT = ToolMessage(tool_call_id="call_probe_1", content="Three metres, says the harbour.")
_SYSTEM = SystemMessage(content="You know the sea.")

_SEQUENCES: Mapping[str, tuple[tuple[Message, ...], bool]] = {
    "a question": ((_ASKED,), False),
    "a system text": ((_SYSTEM, _ASKED), False),
    "a conversation": ((_ASKED, _SAID, UserMessage(content="And tomorrow?")), False),
    "a system text in the middle": ((_ASKED, _SAID, _SYSTEM, UserMessage(content="And tomorrow?")), False),
    "two questions in a row": ((_ASKED, UserMessage(content="And tomorrow?")), False),
    "an answer at the end": ((_ASKED, _SAID), False),
    "a name": ((UserMessage(content="How high is the tide in Brest?", name="ada"),), False),
    "tools": ((_ASKED,), True),
    "a call and its result": ((_ASKED, _CALLED, _RESULT), True),
    "a call, its result and on": (
        (_SYSTEM, _ASKED, _CALLED, _RESULT, _SAID, UserMessage(content="And tomorrow?")),
        True,
    ),
}


class TriedSequence(msgspec.Struct, frozen=True, kw_only=True):
    """`fault`: why a conversation is not rendered, or what is lost of it; None where all is well."""

    name: str
    fault: str | None


class TemplateProbe:
    """One model, as it is served."""

    def __init__(self, card: ModelCard, dialect: Dialect, renderer: Renderer) -> None:
        self._card = card
        self._dialect = dialect
        self._renderer = renderer
        self._spellings = {token.id: token.text for token in card.specials}

    async def sequences(self) -> list[TriedSequence]:
        """Every conversation of the list, tried."""
        return [
            TriedSequence(name=name, fault=await self._fault(messages, has_tools=has_tools))
            for name, (messages, has_tools) in _SEQUENCES.items()
        ]

    async def call_comes_back(self) -> str | None:
        """Whether a call that is written into a prompt is read as the same call: what is read instead, None where it is."""
        before = await self._text((_ASKED,), has_tools=True)
        after = await self._text((_ASKED, _CALLED, _RESULT), has_tools=True)
        if before is None or after is None:
            return "the template does not take calls"
        written = after[_n_common(before, after) :]
        parser = self._dialect.parser(offer_of((TOOL,), "auto", is_parallel=True), "possible")
        name, arguments = "", ""
        for event in [*parser.feed(written), *parser.finish()]:
            match event:
                case CallBegan():
                    name = name or event.name
                case CallPiece():
                    arguments += event.text
        is_same = name == "get_tide" and _is_json(arguments, json.loads(_ARGUMENTS))
        return None if is_same else f"{written[:80]!r} is read as {name or 'no call'} {arguments}".rstrip()

    async def end_of_turn(self) -> str | None:
        """The control token that the template writes behind an answer; None where there is none."""
        segments = await self._segments((_ASKED, _SAID, UserMessage(content="And tomorrow?")), has_tools=False)
        said = str(_SAID.content)
        places = [
            i for i, segment in enumerate(segments or ()) if isinstance(segment, PlainText) and said in segment.text
        ]
        for i in places:
            follows = (segments or ())[i + 1 : i + 2]
            if follows and isinstance(follows[0], ControlToken):
                return self._spellings.get(follows[0].id)
        return None

    async def _fault(self, messages: tuple[Message, ...], *, has_tools: bool) -> str | None:
        try:
            rendered = await self._render(messages, has_tools=has_tools)
        except ChatTemplateRefusal as refusal:
            return refusal.message
        except ChatTemplateFailed:
            return "the template fails"
        text = self._as_text(rendered)
        lost = [content for content in _contents(messages) if content not in text]
        if has_tools and "get_tide" not in text:
            lost.append("get_tide")
        return f"it leaves out {lost[0]!r}" if lost else None

    async def _text(self, messages: tuple[Message, ...], *, has_tools: bool) -> str | None:
        segments = await self._segments(messages, has_tools=has_tools)
        return None if segments is None else self._as_text(segments)

    async def _segments(self, messages: tuple[Message, ...], *, has_tools: bool) -> Sequence[Segment] | None:
        try:
            return await self._render(messages, has_tools=has_tools)
        except (ChatTemplateRefusal, ChatTemplateFailed):
            return None

    async def _render(self, messages: tuple[Message, ...], *, has_tools: bool) -> Sequence[Segment]:
        tools: tuple[Tool, ...] | None = (TOOL,) if has_tools else None
        request = ChatRequest(model=self._card.name, messages=messages, tools=tools)
        return (await self._renderer.rendered(partial(question_of, request, self._dialect))).segments

    def _as_text(self, segments: Iterable[Segment]) -> str:
        """Control tokens as the parser takes them."""
        return "".join(
            segment.text if isinstance(segment, PlainText) else as_control(self._spellings.get(segment.id, ""))
            for segment in segments
            if isinstance(segment, PlainText | ControlToken)
        )


def _n_common(one: str, other: str) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


def _contents(messages: Iterable[Message]) -> list[str]:
    return [message.content for message in messages if isinstance(message.content, str)]


def _is_json(text: str, value: object) -> bool:
    try:
        return bool(json.loads(text) == value)
    except ValueError:
        return False
