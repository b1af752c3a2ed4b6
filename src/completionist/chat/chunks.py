"""The only builder of a chunk: what a delta looks like in a stream (contract, section 6).

Opened      {"index":0,"delta":{"role":"assistant","content":"","refusal":null},…}
Text        {"index":0,"delta":{"content":"High"},…}
CallOpened  {"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_…","type":"function","function":{"name":"f",…}}]},…}
CallText    {"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\\"x\\":"}}]},…}
Spoken      {"index":0,"delta":{"content":null,"audio":{"id":"audio_…","transcript":"High"}},…}
Sound       {"index":0,"delta":{"audio":{"data":"…"}},…}
Closed      {"index":0,"delta":{},…,"finish_reason":"stop"}           with "annotations" in the delta where there are any
Expiry      {"index":0,"delta":{"audio":{"expires_at":1790003600}}}
Judged      "choices":[],"moderation":{…}
Totals      "choices":[],"usage":{…}                            only with `include_usage`

Where an answer may begin with a call, the opening chunk waits for what comes first, and a call comes with it.
"""

from __future__ import annotations

from collections import Counter

import msgspec
from msgspec import UNSET, UnsetType

from completionist import ids
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
from completionist.chat.fold import Head
from completionist.chat.opening import InOrder
from completionist.types.completion import (
    Chunk,
    ChunkChoice,
    CustomDelta,
    DeltaMessage,
    FinishReason,
    FunctionDelta,
    Logprobs,
    SpokenDelta,
    ToolCallDelta,
    Usage,
)
from completionist.types.moderation import CompletionModeration

Content = Text | Reasoning | CallOpened | CallText | Spoken | Sound

_OBFUSCATION_MODULUS_BYTES = 16

_ENCODER = msgspec.json.Encoder()
_ROLE = DeltaMessage(role="assistant", content="", refusal=None)
_SPEAKING_ROLE = DeltaMessage(role="assistant", refusal=None)
_ROLE_OF_THINKER = DeltaMessage(role="assistant", content=None, refusal=None)
_EMPTY = DeltaMessage(content="")
_NO_LOGPROBS = Logprobs(content=(), refusal=None)


class Chunks:
    """Turns the deltas of one streamed answer into chunks, as JSON on one line each.

    What all chunks of a stream have in common is encoded once:

        {"id":…,"choices":[   the choice   ],"usage":null   ,"obfuscation":"…"}
        `_opening`                         `_closing`
    """

    def __init__(
        self,
        head: Head,
        *,
        has_logprobs: bool,
        include_usage: bool,
        include_obfuscation: bool,
        may_call: bool,
        is_spoken: bool = False,
    ) -> None:
        self._role = _SPEAKING_ROLE if is_spoken else _ROLE
        self._speaking: set[int] = set()
        self._head = head
        self._has_logprobs = has_logprobs
        self._include_usage = include_usage
        self._include_obfuscation = include_obfuscation
        self._order = InOrder() if may_call else None
        self._opened: set[int] = set()
        self._without_content: set[int] = set()
        """Choices that have only thought so far: whether words or a call follow is not known."""
        self._calls: dict[int, _Call] = {}
        self._n_calls: Counter[int] = Counter()
        self._opening = _ENCODER.encode(self._chunk()).removesuffix(b"]}")
        self._closing = (b'],"usage":null' if include_usage else b"]") + (
            b',"obfuscation":"' if include_obfuscation else b"}"
        )
        self._filler = ids.filler(2 * _OBFUSCATION_MODULUS_BYTES)
        self._n_chunks = 0

    def write(self, delta: Delta) -> list[bytes]:
        """The chunks that `delta` brings; none where it adds nothing to the stream, or has to wait."""
        if self._order is None:
            return self._written(delta)
        return [chunk for ready in self._order.feed(delta) for chunk in self._written(ready)]

    def _written(self, delta: Delta) -> list[bytes]:
        if isinstance(delta, Totals):
            return [self._last(usage=delta.usage)] if self._include_usage else []
        if isinstance(delta, Judged):
            return [self._last(usage=None if self._include_usage else UNSET, moderation=delta.moderation)]
        if delta.index in self._opened:
            return [*self._missing(delta), self._content(delta)]
        self._opened.add(delta.index)
        if isinstance(delta, Reasoning) and self._role is _ROLE:
            self._without_content.add(delta.index)
            return [self._choice(delta.index, _ROLE_OF_THINKER, self._no_logprobs()), self._content(delta)]
        if isinstance(delta, CallOpened):
            head = self._call_opened(delta)
            message = msgspec.structs.replace(head, role="assistant", content=None, refusal=None)
            return [self._choice(delta.index, message, self._no_logprobs())]
        role = self._choice(delta.index, self._role, self._no_logprobs())
        return [role] if isinstance(delta, Opened) else [role, self._content(delta)]

    def _missing(self, delta: Content | Closed | Expiry | Opened) -> list[bytes]:
        """An answer that was thought about, and then neither said nor called anything, is an empty text."""
        if delta.index not in self._without_content or isinstance(delta, Reasoning):
            return []
        self._without_content.discard(delta.index)
        return [self._choice(delta.index, _EMPTY, self._no_logprobs())] if isinstance(delta, Closed) else []

    def _content(self, delta: Content | Closed | Expiry | Opened) -> bytes:
        match delta:
            case Text():
                logprobs = Logprobs(content=delta.logprobs, refusal=None) if self._has_logprobs else None
                return self._choice(delta.index, DeltaMessage(content=delta.text), logprobs)
            case Closed():
                annotations = delta.annotations or UNSET
                return self._choice(
                    delta.index, DeltaMessage(annotations=annotations), finish_reason=delta.finish_reason
                )
            case Expiry():
                expiry = DeltaMessage(audio=SpokenDelta(expires_at=delta.expires_at))
                return self._choice(delta.index, expiry, finish_reason=UNSET)
            case Opened():
                return self._choice(delta.index, self._role, self._no_logprobs())
            case _:
                return self._choice(delta.index, self._message(delta))

    def _message(self, delta: Reasoning | CallOpened | CallText | Spoken | Sound) -> DeltaMessage:
        match delta:
            case CallText():
                return self._calls[delta.index].more(delta.text)
            case CallOpened():
                return self._call_opened(delta)
            case Reasoning():
                return DeltaMessage(reasoning_content=delta.text)
            case Spoken():
                return self._spoken(delta)
            case Sound():
                return DeltaMessage(audio=SpokenDelta(data=delta.data))

    def _spoken(self, delta: Spoken) -> DeltaMessage:
        if delta.index in self._speaking:
            return DeltaMessage(audio=SpokenDelta(transcript=delta.text))
        self._speaking.add(delta.index)
        return DeltaMessage(content=None, audio=SpokenDelta(id=delta.id, transcript=delta.text))

    def _call_opened(self, opened: CallOpened) -> DeltaMessage:
        call = self._calls[opened.index] = _Call(opened, self._n_calls[opened.index])
        self._n_calls[opened.index] += 1
        return call.head()

    def _no_logprobs(self) -> Logprobs | None:
        return _NO_LOGPROBS if self._has_logprobs else None

    def _choice(
        self,
        index: int,
        message: DeltaMessage,
        logprobs: Logprobs | None = None,
        finish_reason: FinishReason | UnsetType | None = None,
    ) -> bytes:
        choice = ChunkChoice(index=index, delta=message, logprobs=logprobs, finish_reason=finish_reason)
        encoded = b"%b%b%b" % (self._opening, _ENCODER.encode(choice), self._closing)
        return self._obfuscated(encoded) if self._include_obfuscation else encoded

    def _obfuscated(self, encoded: bytes) -> bytes:
        """Pad to a multiple of 16 bytes, so that lengths on the wire do not tell the tokens (contract, section 6.9)."""
        start = self._n_chunks % _OBFUSCATION_MODULUS_BYTES
        self._n_chunks += 1
        n_missing = -(len(encoded) + 2) % _OBFUSCATION_MODULUS_BYTES
        return b'%b%b"}' % (encoded, self._filler[start : start + n_missing])

    def _last(self, *, usage: Usage | UnsetType | None, moderation: CompletionModeration | UnsetType = UNSET) -> bytes:
        """A chunk behind those of all choices."""
        obfuscation = "" if self._include_obfuscation else UNSET
        return _ENCODER.encode(self._chunk(usage=usage, moderation=moderation, obfuscation=obfuscation))

    def _chunk(
        self,
        *,
        usage: Usage | UnsetType | None = UNSET,
        moderation: CompletionModeration | UnsetType = UNSET,
        obfuscation: str | UnsetType = UNSET,
    ) -> Chunk:
        head = self._head
        return Chunk(
            id=head.id,
            created=head.created,
            model=head.model,
            service_tier=head.service_tier,
            system_fingerprint=head.system_fingerprint,
            choices=(),
            usage=usage,
            moderation=moderation,
            obfuscation=obfuscation,
        )


class _Call:
    """The shapes of one call: id, type and name come once (contract 6.3), with no text yet."""

    def __init__(self, opened: CallOpened, position: int) -> None:
        self._opened = opened
        self._position = position

    def head(self) -> DeltaMessage:
        return self._message(self._opened.name, "")

    def more(self, text: str) -> DeltaMessage:
        return self._message(UNSET, text)

    def _message(self, name: str | UnsetType, text: str) -> DeltaMessage:
        kind = self._opened.kind
        if kind == "legacy":
            return DeltaMessage(function_call=FunctionDelta(name=name, arguments=text))
        is_head = name is not UNSET
        delta = ToolCallDelta(
            index=self._position,
            id=self._opened.id if is_head else UNSET,
            type=kind if is_head else UNSET,
            function=FunctionDelta(name=name, arguments=text) if kind == "function" else UNSET,
            custom=CustomDelta(name=name, input=text) if kind == "custom" else UNSET,
        )
        return DeltaMessage(tool_calls=(delta,))
