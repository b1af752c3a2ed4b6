"""The body of a create call: bytes → `Draft` → frozen `ChatRequest` (contract, sections 0, 2).

    Draft.read(body)     strict JSON, then the order's step 1: is there a model, are there messages?
        ↓                the caller looks the model up (404) here
    draft.request()      step 2: unknown keys; step 3: field by field, as `FIELDS` lists them

Both are pure, raise only subclasses of `InvalidRequest`, and take time in proportion to the body. What needs to know the
model is step 4, in `chat.check`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from completionist.errors import MalformedBody, MissingModel, MissingParameter
from completionist.types import rules
from completionist.types.formats import (
    AUDIO,
    MODALITIES,
    MODERATION,
    PREDICTION,
    PROMPT_CACHE_OPTIONS,
    RESPONSE_FORMAT,
    STREAM_OPTIONS,
    WEB_SEARCH_OPTIONS,
    AudioOutput,
    Moderation,
    Prediction,
    PromptCacheOptions,
    ResponseFormat,
    StreamOptions,
    WebSearchOptions,
)
from completionist.types.frozen import FrozenMap
from completionist.types.maps import LOGIT_BIAS, METADATA
from completionist.types.messages import MESSAGES, Message, with_content
from completionist.types.readers import (
    BOOLEAN,
    IDENTIFIER,
    Array,
    Decimal,
    Integer,
    Nullable,
    OneOf,
    Reader,
    StringOr,
    Text,
    Value,
    refuse_unknown,
)
from completionist.types.tools import (
    FUNCTION_CALL,
    FUNCTIONS,
    TOOL_CHOICE,
    TOOLS,
    FunctionCallChoice,
    FunctionDefinition,
    Tool,
    ToolChoice,
)

MAX_TOKENS = 2**31 - 1


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request in good form. Names are the wire's; None means «not given», and so does null on the wire."""

    model: str
    messages: tuple[Message, ...]
    audio: AudioOutput | None = None
    frequency_penalty: float | None = None
    function_call: FunctionCallChoice | None = None
    functions: tuple[FunctionDefinition, ...] | None = None
    logit_bias: FrozenMap[int, int] | None = None
    logprobs: bool | None = None
    max_completion_tokens: int | None = None
    max_tokens: int | None = None
    metadata: FrozenMap[str, str] | None = None
    modalities: tuple[Literal["text", "audio"], ...] | None = None
    moderation: Moderation | None = None
    n: int | None = None
    parallel_tool_calls: bool | None = None
    prediction: Prediction | None = None
    presence_penalty: float | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: PromptCacheOptions | None = None
    prompt_cache_retention: Literal["in_memory", "24h"] | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    response_format: ResponseFormat | None = None
    safety_identifier: str | None = None
    seed: int | None = None
    service_tier: Literal["auto", "default", "flex", "scale", "priority", "fast"] | None = None
    stop: tuple[str, ...] | None = None
    """One string on the wire is a tuple of one here."""
    store: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = None
    tool_choice: ToolChoice | None = None
    tools: tuple[Tool, ...] | None = None
    top_logprobs: int | None = None
    top_p: float | None = None
    user: str | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    web_search_options: WebSearchOptions | None = None

    @property
    def output_limit(self) -> int | None:
        """Tokens a choice may have, by the newer or the older name."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens


class _StopReader(StringOr[tuple[str, ...]]):
    """One to four strings; the limit counts sequences, not characters."""

    def __init__(self) -> None:
        sequence = Text(can_be_empty=False)
        super().__init__(Array(sequence, maximum=4), text=sequence, expected="one of a string or array of strings")

    def read(self, value: Value, at: str) -> tuple[str, ...]:
        stop = super().read(value, at)
        return (stop,) if isinstance(stop, str) else stop


class Field(NamedTuple):
    """A field of the body, how it is read, and the rules whose refusals name it."""

    name: str
    reader: Reader[Any]
    rules: tuple[rules.Rule, ...] = ()


def _field(name: str, reader: Reader[Any], *own_rules: rules.Rule) -> Field:
    return Field(name, reader, own_rules)


_TOKENS = Nullable(Integer(1, MAX_TOKENS))
_PENALTY = Nullable(Decimal(-2, 2))
_FLAG = Nullable(BOOLEAN)
_EFFORT = OneOf("none", "minimal", "low", "medium", "high", "xhigh", "max")
_TIER = OneOf(
    "auto", "default", "flex", "scale", "priority", "fast", listed=("auto", "default", "fast", "flex", "priority")
)

FIELDS = (
    # In the order of checks (section 2.3); the fields that it leaves open stand where the contract puts them.
    _field("messages", MESSAGES, rules.tool_messages_answer_calls, rules.json_mode_needs_the_word),
    _field("functions", FUNCTIONS, rules.not_together("functions", "tools")),
    _field(
        "function_call",
        FUNCTION_CALL,
        rules.only_with("function_call", "functions"),
        rules.choice_is_offered("function_call", "functions"),
    ),
    _field("tools", TOOLS, rules.not_with_prediction("tools")),
    _field(
        "tool_choice",
        TOOL_CHOICE,
        rules.only_with("tool_choice", "tools"),
        rules.choice_is_offered("tool_choice", "tools"),
    ),
    _field("parallel_tool_calls", BOOLEAN, rules.only_with("parallel_tool_calls", "tools")),
    _field("max_completion_tokens", _TOKENS, rules.not_with_prediction("max_completion_tokens")),
    _field("n", Nullable(Integer(1, 128)), rules.not_with_prediction("n", lambda n: n > 1)),
    _field("modalities", Nullable(MODALITIES), rules.not_with_prediction("modalities", lambda m: "audio" in m)),
    _field(
        "audio",
        Nullable(AUDIO),
        rules.audio_output_needs_audio,
        rules.streamed_audio_is_pcm16,
        rules.not_with_prediction("audio"),
    ),
    _field("temperature", Nullable(Decimal(0, 2))),
    _field("top_p", Nullable(Decimal(0, 1))),
    _field("presence_penalty", _PENALTY, rules.not_with_prediction("presence_penalty", lambda p: p > 0)),
    _field("frequency_penalty", _PENALTY, rules.not_with_prediction("frequency_penalty", lambda p: p > 0)),
    _field("logprobs", _FLAG, rules.no_logprobs_with_audio, rules.not_with_prediction("logprobs", bool)),
    _field("top_logprobs", Nullable(Integer(0, 20)), rules.only_when_enabled("top_logprobs", "logprobs")),
    _field("user", IDENTIFIER),
    _field("seed", Nullable(Integer(-(2**63), 2**63 - 1))),
    _field("moderation", Nullable(MODERATION)),
    _field("safety_identifier", Nullable(Text(128))),
    _field("prompt_cache_options", PROMPT_CACHE_OPTIONS),
    _field("prompt_cache_key", Nullable(IDENTIFIER)),
    _field("prompt_cache_retention", Nullable(OneOf("in_memory", "24h"))),
    _field("response_format", RESPONSE_FORMAT, rules.no_schema_with_audio),
    _field("service_tier", Nullable(_TIER)),
    _field("max_tokens", _TOKENS, rules.not_together("max_tokens", "max_completion_tokens")),
    _field("reasoning_effort", Nullable(_EFFORT)),
    _field("logit_bias", Nullable(LOGIT_BIAS)),
    _field("stop", Nullable(_StopReader())),
    _field("stream", _FLAG),
    _field("stream_options", Nullable(STREAM_OPTIONS), rules.only_when_enabled("stream_options", "stream")),
    _field("store", _FLAG),
    _field("metadata", Nullable(METADATA)),
    _field("prediction", Nullable(PREDICTION)),
    _field("verbosity", Nullable(OneOf("low", "medium", "high"))),
    _field("web_search_options", WEB_SEARCH_OPTIONS),
)

NOT_NULLABLE = frozenset(
    field.name for field in FIELDS if field.name != "messages" and type(None) not in field.reader.types
)
"""Optional fields in which null is an error, unless an installation takes it (section 12, row 5)."""

_KNOWN = frozenset({"model", *(field.name for field in FIELDS)})
_MODEL = Text(None)


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What differs from one installation to another, and from one model to another, in reading a body."""

    unknown: Mapping[str, frozenset[str]] = {}
    """By model, the fields that it does not know (section 2.4)."""
    takes_null_fields: bool = False
    """Null is «not given» everywhere (section 12, row 5)."""
    takes_missing_content: bool = False
    """Users and assistants may say nothing (section 12, row 2)."""


STRICT = Reading()


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A body that names a model and has messages; nothing else of it has been looked at."""

    model: str
    body: Mapping[str, Any]

    @classmethod
    def read(cls, body: bytes) -> Draft:
        """Decode UTF-8 JSON and take step 1 of section 2.3.

        Raises `MalformedBody`, `MissingModel`, `InvalidType` (model) or `MissingParameter` (messages).
        """
        decoded = decode_object(body)
        model = decoded.get("model")
        if model is None or model == "":
            raise MissingModel
        _MODEL.check_type(model, "model")
        if "messages" not in decoded:
            raise MissingParameter("messages")
        return cls(model=model, body=decoded)

    def request(self, reading: Reading = STRICT) -> ChatRequest:
        """Steps 2 and 3 of section 2.3: the first fault in the documented order is raised, as an `InvalidRequest`."""
        unknown = reading.unknown.get(self.model)
        refuse_unknown(self.body, _KNOWN - unknown if unknown else _KNOWN)
        body = _as_taken(self.body, reading)
        values: dict[str, Any] = {}
        for field in FIELDS:
            if field.name in body:
                value = body[field.name]
                field.reader.check_type(value, field.name)
                values[field.name] = field.reader.read(value, field.name)
            for rule in field.rules:
                rule(values, body)
        return ChatRequest(model=self.model, **values)


def _as_taken(body: Mapping[str, Any], reading: Reading) -> Mapping[str, Any]:
    if reading.takes_null_fields:
        body = {name: value for name, value in body.items() if value is not None or name not in NOT_NULLABLE}
    if reading.takes_missing_content:
        body = {**body, "messages": with_content(body["messages"])}
    return body


def decode_object(body: bytes) -> dict[str, Any]:
    """Any JSON object, in UTF-8. The decoder refuses NaN, numbers beyond a double, lone surrogates and a byte order mark."""
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise MalformedBody from None
    if not isinstance(decoded, dict):
        raise MalformedBody
    return decoded
