"""The only builder of a `ChatCompletion`: the whole answer is the fold of its deltas."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from completionist.chat.deltas import (
    CallOpened,
    CallText,
    Closed,
    Delta,
    Expiry,
    Judged,
    Opened,
    Reasoning,
    Sound,
    Spoken,
    Text,
    Totals,
)
from completionist.types.completion import (
    Annotation,
    ChatCompletion,
    Choice,
    FinishReason,
    Logprobs,
    Message,
    SpokenAnswer,
    TokenLogprob,
    Usage,
)
from completionist.types.moderation import CompletionModeration
from completionist.types.tools import CalledCustom, CalledFunction, CustomToolCall, FunctionToolCall, ToolCall


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What a completion and every one of its chunks say alike (contract, sections 5.1 and 6.2)."""

    id: str
    created: int
    model: str
    service_tier: str
    system_fingerprint: str


class Folder:
    """Add every delta of one answer, then `finish`."""

    def __init__(self, head: Head, *, has_logprobs: bool) -> None:
        self._head = head
        self._has_logprobs = has_logprobs
        self._choices: list[_OpenChoice] = []
        self._usage: Usage | None = None
        self._moderation: CompletionModeration | UnsetType = UNSET

    def add(self, delta: Delta) -> None:
        """Deltas come in the order that `chat.deltas` promises."""
        match delta:
            case Text() | Reasoning() | CallOpened() | CallText() | Spoken() | Sound() | Expiry():
                self._choices[delta.index].add(delta)
            case Opened():
                self._choices.append(_OpenChoice())
            case Closed():
                self._choices[delta.index].finish_reason = delta.finish_reason
                self._choices[delta.index].annotations = delta.annotations
            case Judged():
                self._moderation = delta.moderation
            case Totals():
                self._usage = delta.usage

    def finish(self) -> ChatCompletion:
        """The completion. Raises `IncompleteAnswer` when the deltas ended before their time."""
        if self._usage is None:
            raise IncompleteAnswer("the deltas ended without totals")
        return ChatCompletion(
            id=self._head.id,
            created=self._head.created,
            model=self._head.model,
            choices=tuple(self._choice(index, choice) for index, choice in enumerate(self._choices)),
            usage=self._usage,
            moderation=self._moderation,
            service_tier=self._head.service_tier,
            system_fingerprint=self._head.system_fingerprint,
        )

    def _choice(self, index: int, choice: _OpenChoice) -> Choice:
        if choice.finish_reason is None:
            raise IncompleteAnswer(f"choice {index} was not closed")
        return Choice(
            index=index,
            message=choice.message(),
            logprobs=Logprobs(content=tuple(choice.logprobs), refusal=None) if self._has_logprobs else None,
            finish_reason=choice.finish_reason,
        )


class IncompleteAnswer(Exception):
    """A backend broke the promise of `chat.deltas`: a fault of ours."""


class _OpenChoice:
    def __init__(self) -> None:
        self.logprobs: list[TokenLogprob] = []
        self.finish_reason: FinishReason | None = None
        self.annotations: tuple[Annotation, ...] = ()
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._calls: list[_OpenCall] = []
        self._speech_id: str | None = None
        self._transcript: list[str] = []
        self._sound: list[str] = []
        self._expires_at = 0

    def add(self, delta: Text | Reasoning | CallOpened | CallText | Spoken | Sound | Expiry) -> None:
        match delta:
            case Text():
                self._texts.append(delta.text)
                self.logprobs.extend(delta.logprobs)
            case Reasoning():
                self._thoughts.append(delta.text)
            case CallOpened():
                self._calls.append(_OpenCall(delta))
            case CallText():
                self._calls[-1].texts.append(delta.text)
            case Spoken():
                self._speech_id = delta.id
                self._transcript.append(delta.text)
            case Sound():
                self._sound.append(delta.data)
            case Expiry():
                self._expires_at = delta.expires_at

    def message(self) -> Message:
        """Beside calls an answer without words has no content, not an empty one, and so has one that is spoken (5.3)."""
        legacy = [call.function() for call in self._calls if call.kind == "legacy"]
        calls = tuple(call.tool_call() for call in self._calls if call.kind != "legacy")
        return Message(
            content="".join(self._texts) if self._texts or not (self._calls or self._speech_id) else None,
            reasoning_content="".join(self._thoughts) if self._thoughts else UNSET,
            tool_calls=calls or UNSET,
            function_call=legacy[0] if legacy else UNSET,
            audio=self._speech(),
            annotations=self.annotations,
        )

    def _speech(self) -> SpokenAnswer | UnsetType:
        if self._speech_id is None:
            return UNSET
        return SpokenAnswer(
            id=self._speech_id,
            data="".join(self._sound),
            expires_at=self._expires_at,
            transcript="".join(self._transcript),
        )


class _OpenCall:
    def __init__(self, opened: CallOpened) -> None:
        self.kind = opened.kind
        self.texts: list[str] = []
        self._id = opened.id
        self._name = opened.name

    def function(self) -> CalledFunction:
        return CalledFunction(name=self._name, arguments="".join(self.texts))

    def tool_call(self) -> ToolCall:
        if self.kind == "custom":
            return CustomToolCall(id=self._id, custom=CalledCustom(name=self._name, input="".join(self.texts)))
        return FunctionToolCall(id=self._id, function=self.function())
