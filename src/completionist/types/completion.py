"""What goes out: the completion, its chunks and their parts (contract, sections 5 and 6).

Field order is wire order. A field of type `T | UnsetType` is absent from the JSON where it is unset; a field of type
`T | None` is written as null.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from completionist.types.moderation import CompletionModeration
from completionist.types.tools import CalledFunction, ToolCall

FinishReason = Literal["stop", "length", "tool_calls", "function_call", "content_filter"]


class TopLogprob(msgspec.Struct, frozen=True):
    """One of the most likely tokens at a position."""

    token: str
    logprob: float
    bytes: tuple[int, ...] | None


class TokenLogprob(msgspec.Struct, frozen=True):
    """The chosen token at a position, with its alternatives, best first."""

    token: str
    logprob: float
    bytes: tuple[int, ...] | None
    top_logprobs: tuple[TopLogprob, ...]


class Logprobs(msgspec.Struct, frozen=True):
    """Both keys are always written; at most one is not null (section 5.3)."""

    content: tuple[TokenLogprob, ...] | None
    refusal: tuple[TokenLogprob, ...] | None


class PromptTokensDetails(msgspec.Struct, frozen=True, kw_only=True):
    """How the prompt tokens split; `cached_tokens` + `cache_write_tokens` <= `prompt_tokens` (section 13.5)."""

    cached_tokens: int = 0
    audio_tokens: int = 0
    cache_write_tokens: int = 0
    text_tokens: int | UnsetType = UNSET
    """This and `image_tokens`: only where there is sound or a picture; then text + image + audio = prompt."""
    image_tokens: int | UnsetType = UNSET


class CompletionTokensDetails(msgspec.Struct, frozen=True, kw_only=True):
    """How the completion tokens split (section 13.4)."""

    reasoning_tokens: int = 0
    audio_tokens: int = 0
    text_tokens: int | UnsetType = UNSET
    """Only where there is sound or a picture; then text + audio + reasoning + rejected = completion."""
    accepted_prediction_tokens: int = 0
    rejected_prediction_tokens: int = 0


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens this engine ran for the request; `total_tokens` is exactly the sum (sections 5.4, 13.4)."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails
    completion_tokens_details: CompletionTokensDetails


class SpokenAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Speech (sections 5.3, 8.5)."""

    id: str
    data: str
    """Base64 of the format that was asked for."""
    expires_at: int
    transcript: str


class URLCitation(msgspec.Struct, frozen=True, kw_only=True):
    """The characters of `content` from `start_index` to `end_index`, which is not among them, cite a source (section 5.3)."""

    end_index: int
    start_index: int
    title: str
    url: str


class Annotation(msgspec.Struct, frozen=True, kw_only=True):
    """What is said about a part of an answer."""

    type: Literal["url_citation"] = "url_citation"
    url_citation: URLCitation


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """The assistant's answer in one choice (section 5.3)."""

    role: Literal["assistant"] = "assistant"
    content: str | None = None
    reasoning_content: str | UnsetType = UNSET
    """An extra key, only where the operator wants it (section 13.2)."""
    tool_calls: tuple[ToolCall, ...] | UnsetType = UNSET
    function_call: CalledFunction | UnsetType = UNSET
    refusal: str | None = None
    audio: SpokenAnswer | UnsetType = UNSET
    annotations: tuple[Annotation, ...] = ()


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """One of the `n` answers."""

    index: int
    message: Message
    logprobs: Logprobs | None = None
    finish_reason: FinishReason


class ChatCompletion(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a create call (section 5.1)."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: tuple[Choice, ...]
    usage: Usage
    moderation: CompletionModeration | UnsetType = UNSET
    """Only where it was asked for (section 8.10)."""
    service_tier: str
    system_fingerprint: str


class FunctionDelta(msgspec.Struct, frozen=True, kw_only=True):
    """More of a call's arguments; the name comes once, with the first of them."""

    name: str | UnsetType = UNSET
    arguments: str


class CustomDelta(msgspec.Struct, frozen=True, kw_only=True):
    """More of a custom call's input."""

    name: str | UnsetType = UNSET
    input: str


class ToolCallDelta(msgspec.Struct, frozen=True, kw_only=True):
    """More of one call; id and type come once (section 6.6)."""

    index: int
    id: str | UnsetType = UNSET
    type: Literal["function", "custom"] | UnsetType = UNSET
    function: FunctionDelta | UnsetType = UNSET
    custom: CustomDelta | UnsetType = UNSET


class SpokenDelta(msgspec.Struct, frozen=True, kw_only=True):
    """More of an answer's speech; `id` and `expires_at` come once (section 6.8)."""

    id: str | UnsetType = UNSET
    data: str | UnsetType = UNSET
    expires_at: int | UnsetType = UNSET
    transcript: str | UnsetType = UNSET


class DeltaMessage(msgspec.Struct, frozen=True, kw_only=True):
    """What a chunk adds to a message; absent keys add nothing (section 6.4)."""

    role: Literal["assistant"] | UnsetType = UNSET
    content: str | UnsetType | None = UNSET
    reasoning_content: str | UnsetType = UNSET
    tool_calls: tuple[ToolCallDelta, ...] | UnsetType = UNSET
    function_call: FunctionDelta | UnsetType = UNSET
    refusal: str | UnsetType | None = UNSET
    audio: SpokenDelta | UnsetType = UNSET
    annotations: tuple[Annotation, ...] | UnsetType = UNSET
    """All of them at once, with the finish reason (section 6.8)."""


class ChunkChoice(msgspec.Struct, frozen=True, kw_only=True):
    """The one choice a chunk speaks of."""

    index: int
    delta: DeltaMessage
    logprobs: Logprobs | None = None
    finish_reason: FinishReason | UnsetType | None = None
    """Absent from the chunk that says when speech expires."""


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a streamed answer (section 6.2)."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    service_tier: str
    system_fingerprint: str
    choices: tuple[ChunkChoice, ...]
    usage: Usage | UnsetType | None = UNSET
    moderation: CompletionModeration | UnsetType = UNSET
    obfuscation: str | UnsetType = UNSET
