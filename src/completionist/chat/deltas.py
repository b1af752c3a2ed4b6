"""The seam between the use case and whatever answers: a `ChatBackend` turns a request into a stream of `Delta`s.

Order, for each choice: `Opened`, then any number of content deltas, then exactly one `Closed`. All choices are opened in
index order before anything else (the official client fails otherwise, contract 6.3). After the last `Closed` comes
exactly one `Totals`. A backend that fails raises an `APIError` instead: before the first `Opened` the caller still gets
an ordinary HTTP error, later an error event. Closing the generator cancels the work.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Literal, Protocol

import msgspec

from completionist.engine.base import ModelCard
from completionist.types.caller import Caller
from completionist.types.completion import Annotation, FinishReason, TokenLogprob, Usage
from completionist.types.moderation import CompletionModeration
from completionist.types.request import ChatRequest


class Opened(msgspec.Struct, frozen=True):
    """The choice exists: the request was accepted and has its place."""

    index: int
    prompt_tokens: int = 0
    """Of the request, as far as they are known already."""


class Text(msgspec.Struct, frozen=True):
    """Whole characters of visible content; `logprobs` are those of exactly these characters, where asked for."""

    index: int
    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


class Reasoning(msgspec.Struct, frozen=True):
    """Thinking, for operators who let it be seen; before any other content."""

    index: int
    text: str


CallKind = Literal["function", "custom", "legacy"]
"""What is called: a function tool, a custom tool, or one of the deprecated `functions` (contract 4.3 to 4.5)."""


class CallOpened(msgspec.Struct, frozen=True):
    """The choice's next call begins; the one before is complete."""

    index: int
    kind: CallKind
    id: str
    """Empty for a legacy call, which has none."""
    name: str


class CallText(msgspec.Struct, frozen=True):
    """More of the last call: of its arguments, or of a custom tool's input."""

    index: int
    text: str


class Spoken(msgspec.Struct, frozen=True):
    """More words of an answer that is spoken: they stand in its transcript, in place of `Text`."""

    index: int
    id: str
    """Of the choice's speech, the same every time."""
    text: str


class Sound(msgspec.Struct, frozen=True):
    """More of a choice's speech, as base64 that can be put behind what came before."""

    index: int
    data: str


class Expiry(msgspec.Struct, frozen=True):
    """Until when a choice's speech can be named; behind the `Closed` of every choice."""

    index: int
    expires_at: int


class Closed(msgspec.Struct, frozen=True):
    """The choice is complete."""

    index: int
    finish_reason: FinishReason
    annotations: tuple[Annotation, ...] = ()
    """Of the text that the choice has said."""


class Judged(msgspec.Struct, frozen=True):
    """What input and output were found to be, where that was asked; behind all choices, before the totals."""

    moderation: CompletionModeration


class Totals(msgspec.Struct, frozen=True):
    """The last delta of an answer."""

    usage: Usage


Delta = Opened | Text | Reasoning | CallOpened | CallText | Spoken | Sound | Closed | Expiry | Judged | Totals


class Times(msgspec.Struct, frozen=True):
    """When an answer came how far, by the monotonic clock; None: it did not come so far."""

    accepted_s: float | None = None
    """It was in the queue."""
    started_s: float | None = None
    """It left the queue."""
    evaluated_s: float | None = None
    """Its prompt was in memory."""
    encode_s: float = 0.0
    """How long pictures and sounds were encoded for it, between these two."""


class Tally:
    """What has been run for one answer so far, also of one that comes to no end: written when its generator is closed."""

    def __init__(self) -> None:
        self.usage: Usage | None = None
        """None: nothing was run."""
        self.times = Times()


class ChatBackend(Protocol):
    """Answers chat requests for one model."""

    @property
    def card(self) -> ModelCard:
        """What the model is; known once the backend has started, and kept across restarts of its engine."""
        ...

    @property
    def can_think(self) -> bool:
        """Whether the model has a way of thinking before it answers."""
        ...

    def deltas(self, request: ChatRequest, caller: Caller, tally: Tally | None = None) -> AsyncGenerator[Delta]:
        """Answer `request`. Raises `APIError` at the first step for what cannot be answered."""
        ...

    async def close(self) -> None:
        """Let go of what the backend holds for itself; an engine that it was given is closed by its owner."""
        ...
