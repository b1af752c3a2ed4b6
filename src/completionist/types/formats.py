"""Smaller objects of a request: what form the answer takes and what accompanies it (contract, sections 7.1, 8)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from completionist.errors import MissingParameter
from completionist.types.metaschema import check_schema
from completionist.types.parts import TEXT_PART, TextPart, part_of
from completionist.types.readers import (
    BOOLEAN,
    FREE_TEXT,
    IDENTIFIER,
    NAME,
    TEXT,
    Array,
    Nullable,
    Object,
    OneOf,
    StringOr,
    Tagged,
    Value,
    ignored,
    optional,
    required,
)
from completionist.types.schemas import SCHEMA, Schema


class TextResponse(msgspec.Struct, frozen=True, kw_only=True):
    type: Literal["text"] = "text"


class JSONObjectResponse(msgspec.Struct, frozen=True, kw_only=True):
    type: Literal["json_object"] = "json_object"


class JSONSchemaFormat(msgspec.Struct, frozen=True, kw_only=True):
    """`strict` None: false."""

    name: str
    description: str | None = None
    schema: Schema | None = None
    strict: bool | None = None


class JSONSchemaResponse(msgspec.Struct, frozen=True, kw_only=True):
    type: Literal["json_schema"] = "json_schema"
    json_schema: JSONSchemaFormat


ResponseFormat = TextResponse | JSONObjectResponse | JSONSchemaResponse


class VoiceID(msgspec.Struct, frozen=True, kw_only=True):
    """A custom voice."""

    id: str


class AudioOutput(msgspec.Struct, frozen=True, kw_only=True):
    """How speech would be made; it asks for none by itself (section 2.5)."""

    voice: str | VoiceID
    format: Literal["wav", "aac", "mp3", "flac", "opus", "pcm16"]


class StreamOptions(msgspec.Struct, frozen=True, kw_only=True):
    """None: false for `include_usage`, true for `include_obfuscation`."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    type: Literal["content"] = "content"
    content: str | tuple[TextPart, ...]


class PromptCacheOptions(msgspec.Struct, frozen=True, kw_only=True):
    """None: implicit, 30m."""

    mode: Literal["implicit", "explicit"] | None = None
    ttl: Literal["30m"] | None = None


class ModerationMode(msgspec.Struct, frozen=True, kw_only=True):
    mode: Literal["score", "block"]


class ModerationPolicy(msgspec.Struct, frozen=True, kw_only=True):
    input: ModerationMode | None = None
    output: ModerationMode | None = None


class Moderation(msgspec.Struct, frozen=True, kw_only=True):
    model: str
    policy: ModerationPolicy | None = None


class ApproximateLocation(msgspec.Struct, frozen=True, kw_only=True):
    """`country` has two letters, `timezone` is an IANA name."""

    country: str | None = None
    region: str | None = None
    city: str | None = None
    timezone: str | None = None


class UserLocation(msgspec.Struct, frozen=True, kw_only=True):
    type: Literal["approximate"] = "approximate"
    approximate: ApproximateLocation


class WebSearchOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`search_context_size` None: medium."""

    search_context_size: Literal["low", "medium", "high"] | None = None
    user_location: UserLocation | None = None


class _ResponseFormatReader(Tagged[ResponseFormat]):
    """The schema is judged last: its refusals name the format."""

    def read(self, value: Value, at: str) -> ResponseFormat:
        response_format = super().read(value, at)
        if isinstance(response_format, JSONSchemaResponse):
            sent = response_format.json_schema
            subject = f"response_format '{sent.name}'"
            check_schema(sent.schema, param=at, subject=subject, code=None, is_strict=sent.strict is True)
        return response_format


def _check_schema_given(value: Mapping[str, Any], at: str) -> None:
    if value.get("strict") is True and "schema" not in value:
        raise MissingParameter(f"{at}.schema")


_TAG = ignored("type")
_JSON_SCHEMA = Object(
    JSONSchemaFormat,
    required("name", NAME),
    optional("description", FREE_TEXT),
    optional("schema", SCHEMA),
    optional("strict", Nullable(BOOLEAN)),
    demand=_check_schema_given,
)
_MODERATION_MODE = Nullable(Object(ModerationMode, required("mode", OneOf("score", "block"))))
_PLACE = Nullable(IDENTIFIER)
_LOCATION = Object(
    ApproximateLocation,
    optional("country", _PLACE),
    optional("region", _PLACE),
    optional("city", _PLACE),
    optional("timezone", _PLACE),
)

RESPONSE_FORMAT = _ResponseFormatReader(
    "type",
    {
        "text": Object(TextResponse, _TAG),
        "json_object": Object(JSONObjectResponse, _TAG),
        "json_schema": Object(JSONSchemaResponse, _TAG, required("json_schema", _JSON_SCHEMA)),
    },
    listed=("json_object", "json_schema", "text"),
)
MODALITIES = Array(OneOf("text", "audio"), expected="an array of strings")
AUDIO = Object(
    AudioOutput,
    required(
        "voice",
        StringOr(Object(VoiceID, required("id", IDENTIFIER)), text=IDENTIFIER, expected="one of a string or object"),
    ),
    required("format", OneOf("wav", "aac", "mp3", "flac", "opus", "pcm16")),
)
STREAM_OPTIONS = Object(StreamOptions, optional("include_usage", BOOLEAN), optional("include_obfuscation", BOOLEAN))
PREDICTION: Tagged[Prediction] = Tagged(
    "type",
    {
        "content": Object(
            Prediction,
            _TAG,
            required(
                "content",
                StringOr(
                    Array(part_of({"text": TEXT_PART})), text=TEXT, expected="one of a string or array of objects"
                ),
            ),
        )
    },
)
PROMPT_CACHE_OPTIONS = Object(
    PromptCacheOptions, optional("mode", OneOf("implicit", "explicit")), optional("ttl", OneOf("30m"))
)
MODERATION = Object(
    Moderation,
    required("model", IDENTIFIER),
    optional(
        "policy",
        Nullable(Object(ModerationPolicy, optional("input", _MODERATION_MODE), optional("output", _MODERATION_MODE))),
    ),
)
WEB_SEARCH_OPTIONS = Object(
    WebSearchOptions,
    optional("search_context_size", OneOf("low", "medium", "high")),
    optional(
        "user_location",
        Nullable(
            Object(
                UserLocation,
                required("type", OneOf("approximate")),
                required("approximate", _LOCATION),
            )
        ),
    ),
)
