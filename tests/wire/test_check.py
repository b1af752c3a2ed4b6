"""What is refused because nothing here gives it an effect (contract, sections 2.3 step 4, 13.1)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import pytest
from msgspec.structs import replace

from completionist.chat.check import check as check_request
from completionist.chat.moderate import Moderator
from completionist.chat.search import Query, Source
from completionist.engine.base import ModelCard
from completionist.errors import APIError
from completionist.media.handover import Handover
from completionist.media.pixels import WorkerDecoder
from completionist.media.reader import WorkerReader
from completionist.media.samples import WorkerSoundDecoder
from completionist.settings import DocumentSettings, HearingSettings, ImageSettings
from completionist.types.caller import Caller, ServiceTier
from completionist.types.moderation import ModerationResult
from completionist.types.parts import Base64, Pixels, Samples
from completionist.types.request import ChatRequest
from tests.support.eyes import Eyes
from tests.support.humming import Humming
from tests.support.parrot import Parrot
from tests.wire.bodies import HELLO, Refusal, body, chat, read

CARD = ModelCard(
    name="m",
    description="a model for tests",
    context_tokens=128,
    trained_context_tokens=128,
    vocabulary_size=1000,
    parameters=1,
    weights_bytes=1,
    kv_bytes=1,
    streams=1,
    chat_template=None,
    bos_text="",
    eos_text="",
    bos_id=None,
    specials=(),
    memory_kind="trim_anywhere",
    fingerprint="fp_0123456789",
    engine="test",
)
HUMMING = Humming()
PARROT = Parrot()
EYES = Eyes()
TOOLS = [{"type": "function", "function": {"name": "f"}}]
SPOKEN = {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}


class Finder:
    missing: str | None = None

    async def search(self, query: Query) -> Sequence[Source]:
        raise NotImplementedError(query)

    async def close(self) -> None:
        """Nothing to end."""


class Judge:
    """A `Moderator` that is never asked."""

    missing: str | None = None
    names = ("judge",)
    fails_open = False
    sees = False

    def place(self, caller: Caller, tier: ServiceTier) -> AbstractContextManager[None]:
        raise NotImplementedError

    async def judge(self, text: str, pictures: Sequence[Base64], name: str, caller: Caller) -> ModerationResult:
        raise NotImplementedError

    async def close(self) -> None:
        """Nothing to end."""


JUDGE = Judge()


class Media:
    documents = WorkerReader(DocumentSettings(), Handover())
    sight = WorkerDecoder(ImageSettings(), Handover())
    sound = WorkerSoundDecoder(HearingSettings(), Handover())
    fetcher = None

    def __init__(self, speaker: Humming, listener: Parrot, pictures: Eyes) -> None:
        self.pictures = pictures
        self.speaker = speaker
        self.listener = listener
        self.search: Finder | None = Finder()

    async def forget(self, medium: Pixels | Samples) -> None:
        raise NotImplementedError


def check(
    sent: dict[str, Any],
    *,
    can_think: bool = False,
    speaker: Humming = HUMMING,
    listener: Parrot = PARROT,
    pictures: Eyes = EYES,
    moderator: Moderator | None = JUDGE,
    card: ModelCard = CARD,
) -> None:
    senses = Media(speaker, listener, pictures)
    check_request(read(sent), card, can_think=can_think, senses=senses, moderator=moderator)


def refusal(sent: dict[str, Any], speaker: Humming = HUMMING) -> Refusal:
    with pytest.raises(APIError) as caught:
        check(sent, speaker=speaker)
    assert (caught.value.status, caught.value.type) == (400, "invalid_request_error")
    return Refusal(caught.value.error_code, caught.value.param, caught.value.message)


def unsupported(param: str, reason: str = "") -> Refusal:
    text = f"Unsupported parameter: '{param}' is not supported with this model."
    return Refusal("unsupported_parameter", param, f"{text} {reason}" if reason else text)


@pytest.mark.parametrize(
    ("missing", "reason"), [(None, "No classifier is configured."), ("The judge is not in.", "The judge is not in.")]
)
def test_moderation_needs_what_moderates(missing: str | None, reason: str) -> None:
    away = Judge()
    away.missing = missing
    with pytest.raises(APIError) as caught:
        check(body(moderation={"model": "judge"}), moderator=away if missing else None)
    assert Refusal(caught.value.error_code, caught.value.param, caught.value.message) == unsupported(
        "moderation", reason
    )


def test_what_moderates_has_a_name() -> None:
    text = "Invalid value: 'm'. Supported values are: 'judge'."
    assert refusal(body(moderation={"model": "m"})) == Refusal("invalid_value", "moderation.model", text)


def test_a_prediction_needs_a_memory_that_can_go_back() -> None:
    sent = body(prediction={"type": "content", "content": "x"})
    check(sent)
    with pytest.raises(APIError) as caught:
        check(sent, card=replace(CARD, memory_kind="checkpoints_only"))
    assert (caught.value.error_code, caught.value.param) == ("unsupported_parameter", "prediction")


def test_a_search_that_is_missing_is_refused_with_what_is_missing() -> None:
    media, sent = Media(HUMMING, PARROT, EYES), read(body(web_search_options={}))
    check_request(sent, CARD, can_think=False, senses=media, moderator=None)
    for search, reason in ((None, "No search provider is configured."), (Finder(), "Nothing is found.")):
        media.search = search
        if search is not None:
            search.missing = reason
        with pytest.raises(APIError) as caught:
            check_request(sent, CARD, can_think=False, senses=media, moderator=None)
        found = Refusal(caught.value.error_code, caught.value.param, caught.value.message)
        assert found == unsupported("web_search_options", reason)


@pytest.mark.parametrize("modalities", [["text", "audio"], ["audio"]])
def test_speech_that_is_missing_is_refused_with_what_is_missing(modalities: list[str]) -> None:
    mute = Humming()
    mute.missing = "Nobody hums."
    assert refusal({**body(), **SPOKEN, "modalities": modalities}, mute) == unsupported("modalities", "Nobody hums.")
    check({**body(), **SPOKEN, "modalities": modalities})


SILENT: dict[str, Any] = {
    "modalities": ["text", "text"],
    "metadata": {"team": "blue"},
    "user": "u",
    "safety_identifier": "s",
    "audio": {"voice": "alloy", "format": "wav"},
}
BUILT: dict[str, Any] = {
    "web_search_options": {},
    "functions": [{"name": "f"}],
    "tools": TOOLS,
    "prediction": {"type": "content", "content": "x"},
    "reasoning_effort": "none",
    "response_format": {"type": "json_schema", "json_schema": {"name": "n"}},
    "max_completion_tokens": 5,
    "max_tokens": 5,
    "temperature": 0.5,
    "top_p": 0.5,
    "seed": 1,
    "stop": "x",
    "n": 2,
    "stream": True,
    "presence_penalty": 0.1,
    "frequency_penalty": -2,
    "logprobs": True,
    "logit_bias": {"999": 100},
    "service_tier": "flex",
    "prompt_cache_options": {"mode": "explicit"},
    "prompt_cache_key": "k",
    "prompt_cache_retention": "24h",
    "verbosity": "low",
    "store": True,
    "moderation": {"model": "judge"},
}
# Only ever come with a field that is refused, or with `stream`.
ATTACHED = {"function_call", "tool_choice", "parallel_tool_calls", "top_logprobs", "stream_options"}


@pytest.mark.parametrize(("field", "value"), [*SILENT.items(), *BUILT.items()])
def test_what_asks_for_nothing_or_is_built_passes(field: str, value: object) -> None:
    check(body(**{field: value}))


@pytest.mark.parametrize("effort", ["minimal", "medium", "max"])
def test_effort_is_for_models_that_can_think(effort: str) -> None:
    check(body(reasoning_effort=effort), can_think=True)
    text = f"Unsupported value: 'reasoning_effort' does not support '{effort}' with this model. Supported values are: 'none'."
    assert refusal(body(reasoning_effort=effort)) == Refusal("unsupported_value", "reasoning_effort", text)


def test_no_field_is_left_out() -> None:
    listed = {*SILENT, *BUILT, *ATTACHED, "model", "messages"}
    assert listed == set(ChatRequest.__struct_fields__)


def test_stream_options_pass() -> None:
    check(body(stream=True, stream_options={"include_usage": True, "include_obfuscation": False}))


def test_token_ids_end_with_the_vocabulary() -> None:
    text = "Invalid key in 'logit_bias': 1000. Maximum value is 999."
    assert refusal(body(logit_bias={"1000": 1})) == Refusal(None, "logit_bias", text)


PICTURE: dict[str, Any] = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
SOUND = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
FILE = {"type": "file", "file": {"file_id": "file-1"}}
TEXT = {"type": "text", "text": "x"}


def test_a_text_model_sees_at_most_text() -> None:
    sent = chat(HELLO, {"role": "user", "content": [TEXT, PICTURE]})
    check(sent)
    blind = Eyes()
    blind.missing = "Nobody looks."
    with pytest.raises(APIError) as caught:
        check(sent, pictures=blind)
    text = "Invalid content type. image_url is only supported by certain models. Nobody looks."
    assert (caught.value.param, caught.value.message) == ("messages.[1].content.[1].type", text)
    original = {"type": "image_url", "image_url": {**PICTURE["image_url"], "detail": "original"}}
    assert refusal(chat({"role": "user", "content": [original]})).code == "unsupported_value"


def test_a_text_model_hears_through_a_listener() -> None:
    sent = chat({"role": "user", "content": [SOUND]})
    check(sent)
    deaf = Parrot()
    deaf.missing = "Nobody listens."
    with pytest.raises(APIError) as caught:
        check(sent, listener=deaf)
    text = "Invalid content type. input_audio is only supported by certain models. Nobody listens."
    assert (caught.value.param, caught.value.message) == ("messages.[0].content.[0].type", text)


def test_files_are_read_for_a_text_model() -> None:
    check(chat({"role": "user", "content": [TEXT, FILE]}))


def test_text_of_every_role_passes_with_names_and_calls() -> None:
    spoken = [
        {"role": role, "content": [TEXT, TEXT], "name": "n"} for role in ("system", "developer", "user", "assistant")
    ]
    called = [
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "tool", "content": "4", "tool_call_id": "c"},
        {"role": "assistant", "function_call": {"name": "f", "arguments": ""}},
        {"role": "function", "name": "f", "content": "4"},
    ]
    check(chat(*spoken, {"role": "assistant", "refusal": "no"}, *called))


def test_messages_are_judged_before_fields() -> None:
    original = {"type": "image_url", "image_url": {**PICTURE["image_url"], "detail": "original"}}
    sent = {**chat({"role": "user", "content": [original]}), "moderation": {"model": "m"}}
    assert refusal(sent).param == "messages[0].content[0].image_url.detail"
