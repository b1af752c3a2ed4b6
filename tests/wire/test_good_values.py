"""What a good value of a field becomes (contract, section 2.1)."""

from __future__ import annotations

import pytest

from completionist.types.formats import (
    ApproximateLocation,
    AudioOutput,
    JSONObjectResponse,
    Moderation,
    ModerationMode,
    ModerationPolicy,
    Prediction,
    PromptCacheOptions,
    StreamOptions,
    TextResponse,
    UserLocation,
    VoiceID,
    WebSearchOptions,
)
from completionist.types.parts import TextPart
from tests.wire.bodies import body, chat, read
from tests.wire.test_fields import with_field

GOOD_VALUES: list[tuple[str, object, object]] = [
    ("n", 1, 1),
    ("n", 128, 128),
    ("temperature", 0, 0.0),
    ("temperature", 2, 2.0),
    ("temperature", 0.5, 0.5),
    ("top_p", 1, 1.0),
    ("presence_penalty", -2, -2.0),
    ("frequency_penalty", 2.0, 2.0),
    ("seed", -(2**63), -(2**63)),
    ("seed", 2**63 - 1, 2**63 - 1),
    ("max_tokens", 2**31 - 1, 2**31 - 1),
    ("max_completion_tokens", 1, 1),
    ("top_logprobs", 0, 0),
    ("top_logprobs", 20, 20),
    ("stop", "x", ("x",)),
    ("stop", ["a", "b", "c", "d"], ("a", "b", "c", "d")),
    ("stop", "x" * 1_000_000, ("x" * 1_000_000,)),
    ("user", "", ""),
    ("safety_identifier", "u" * 128, "u" * 128),
    ("modalities", ["text"], ("text",)),
    ("metadata", {"k" * 64: "v" * 512}, {"k" * 64: "v" * 512}),
    ("metadata", {}, {}),
    ("logit_bias", {"0": -100, "2147483647": 100, "007": 3}, {0: -100, 2147483647: 100, 7: 3}),
    ("service_tier", "scale", "scale"),
    ("service_tier", "auto", "auto"),
    ("reasoning_effort", "max", "max"),
    ("stream_options", {}, StreamOptions()),
    ("stream_options", {"include_usage": True}, StreamOptions(include_usage=True)),
    ("prompt_cache_options", {"mode": "explicit"}, PromptCacheOptions(mode="explicit")),
    ("audio", {"voice": {"id": "v"}, "format": "wav"}, AudioOutput(voice=VoiceID(id="v"), format="wav")),
    ("prediction", {"type": "content", "content": "x"}, Prediction(content="x")),
    (
        "prediction",
        {"type": "content", "content": [{"type": "text", "text": "x"}]},
        Prediction(content=(TextPart(text="x"),)),
    ),
    ("response_format", {"type": "text"}, TextResponse()),
    ("moderation", {"model": "m", "policy": None}, Moderation(model="m")),
    (
        "moderation",
        {"model": "m", "policy": {"input": None, "output": {"mode": "block"}}},
        Moderation(model="m", policy=ModerationPolicy(output=ModerationMode(mode="block"))),
    ),
    ("web_search_options", {"user_location": None}, WebSearchOptions()),
    (
        "web_search_options",
        {"user_location": {"type": "approximate", "approximate": {"city": "Brest", "region": None}}},
        WebSearchOptions(user_location=UserLocation(approximate=ApproximateLocation(city="Brest"))),
    ),
]


@pytest.mark.parametrize(("field", "value", "frozen"), GOOD_VALUES)
def test_good_value(field: str, value: object, frozen: object) -> None:
    assert getattr(read(with_field(field, value)), field) == frozen


def test_audio_alone_is_a_modality() -> None:
    request = read(body(modalities=["audio"], audio={"voice": "alloy", "format": "wav"}))
    assert request.modalities == ("audio",)


def test_json_mode() -> None:
    sent = chat({"role": "user", "content": "as JSON"}, response_format={"type": "json_object"})
    assert read(sent).response_format == JSONObjectResponse()
