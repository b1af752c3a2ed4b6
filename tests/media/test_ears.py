"""Sound in messages to a model that hears: a tiny one, its projector beside it, through the real server and client.

Both have random weights: they understand nothing, on the path that models take which do.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import openai
import pytest
import soundfile

from completionist.local.template import FALLBACK
from completionist.models.installed import LOCAL_PUBLISHER, ModelFile
from completionist.models.projectors import with_projector
from completionist.settings import HearingSettings, ServerSettings, Settings
from tests.engine.tiny_models import WIDTH, write_plain
from tests.media.test_hearing import BAD, DATA, audio_part, wave
from tests.media.test_pictures import TEXT, image_part, png
from tests.media.test_sight import asked, is_empty, refusal, seeing
from tests.support.projectors import write_projector
from tests.support.server import RunningServer, eventually, running_server

MAX_S = 20.0
SETTINGS = Settings(server=ServerSettings(port=0), hearing=HearingSettings(max_audio_s=MAX_S, directory="/nowhere"))
N_TOKENS = 30


@pytest.fixture(scope="module")
def ears(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Serves `tiny`, which sees and hears: 16 tokens for a picture, 30 for a sound. Nobody recognises speech here."""
    directory = tmp_path_factory.mktemp("models")
    path = write_plain(directory / "tiny.gguf", controls=("<|im_start|>", "<|im_end|>"), chat_template=FALLBACK)
    write_projector(directory / "mmproj-tiny.gguf", "both", WIDTH)
    file = ModelFile(path=path, name="tiny", publisher=LOCAL_PUBLISHER, sha256=None, added_at_s=0)
    tiny = seeing(with_projector(file, None))
    with running_server(settings=SETTINGS, others=lambda: [tiny]) as server:
        yield server


def tone(pitch: int, seconds: float = 10.0, rate_hz: int = 16_000, n_channels: int = 1) -> Any:
    """Steps of 300 Hz."""
    wave_form = np.sin(np.arange(int(seconds * rate_hz)) * (pitch * 300 * 2 * np.pi / rate_hz)) / 2
    return np.repeat(wave_form[:, np.newaxis], n_channels, axis=1)


def tokens(answer: Any) -> tuple[int, int]:
    """Of sound and pictures; all add up."""
    usage, details = answer.usage, answer.usage.prompt_tokens_details.model_dump()
    assert details["text_tokens"] + details["image_tokens"] + details["audio_tokens"] == usage.prompt_tokens
    return details["audio_tokens"], details["image_tokens"]


def test_sound_is_answered_plain_and_streamed(ears: RunningServer) -> None:
    part = audio_part(wave(tone(1), 16_000))
    plain = asked(ears, part)
    assert tokens(plain) == (N_TOKENS, 0)
    assert plain.usage.prompt_tokens == asked(ears).usage.prompt_tokens + N_TOKENS
    chunks = asked(ears, part, stream=True, stream_options={"include_usage": True})
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert said == plain.choices[0].message.content
    assert chunks[-1].usage.prompt_tokens_details.audio_tokens == N_TOKENS
    eventually(lambda: is_empty(ears))


@pytest.mark.parametrize(
    ("rate_hz", "n_channels", "form"), [(8_000, 1, "wav"), (48_000, 2, "wav"), (44_100, 1, "mp3"), (22_050, 2, "mp3")]
)
def test_any_rate_and_any_channels_are_heard(ears: RunningServer, rate_hz: int, n_channels: int, form: str) -> None:
    content = wave(tone(2, 1.0, rate_hz, n_channels), rate_hz, form.upper())
    first = asked(ears, audio_part(content, form), seed=rate_hz)
    again = asked(ears, audio_part(content, form), seed=rate_hz)
    assert tokens(first) == tokens(again) == (N_TOKENS, 0)
    assert again.choices == first.choices
    assert again.usage.prompt_tokens_details.cached_tokens >= N_TOKENS


def test_the_same_samples_are_found_again_and_others_never(ears: RunningServer) -> None:
    """However the file is packed."""
    samples = np.round(tone(3) * 1000) / 32768
    packed = io.BytesIO()
    soundfile.write(packed, samples, 16_000, format="WAV", subtype="PCM_24")
    first = asked(ears, audio_part(wave(samples, 16_000)))
    again = asked(ears, audio_part(packed.getvalue()))
    other = asked(ears, audio_part(wave(tone(4), 16_000)))
    assert again.choices == first.choices
    n_encoded = ears.metric("media_encode_seconds_count")
    asked(ears, audio_part(wave(samples, 16_000)))
    assert ears.metric("media_encode_seconds_count") == n_encoded > 0
    assert ears.metric("media_encode_seconds_sum") > 0
    assert again.usage.prompt_tokens_details.cached_tokens >= first.usage.prompt_tokens_details.cached_tokens + N_TOKENS
    assert other.usage.prompt_tokens_details.cached_tokens < first.usage.prompt_tokens - N_TOKENS
    assert other.choices[0].message.content != first.choices[0].message.content


def test_pictures_sounds_and_text_stand_where_they_were_put(ears: RunningServer) -> None:
    sound, picture = audio_part(wave(tone(5), 16_000)), image_part(png(3, 3))
    first, swapped = asked(ears, sound, picture), asked(ears, picture, sound)
    assert tokens(first) == tokens(swapped) == (N_TOKENS, 16)
    assert first.choices[0].message.content != swapped.choices[0].message.content
    earlier = [
        {"role": "user", "content": [TEXT, sound]},
        {"role": "assistant", "content": "A tide gauge."},
        {"role": "user", "content": [audio_part(wave(tone(6), 16_000)), TEXT]},
    ]
    assert tokens(asked(ears, messages=earlier)) == (2 * N_TOKENS, 0)


def test_a_breakpoint_on_a_sound_is_kept(ears: RunningServer) -> None:
    part = {**audio_part(wave(tone(7), 16_000)), "prompt_cache_breakpoint": {"mode": "explicit"}}
    fields = {"extra_body": {"prompt_cache_options": {"mode": "explicit"}}}
    first = asked(ears, part, {"type": "text", "text": "One."}, **fields)
    second = asked(ears, part, {"type": "text", "text": "Two."}, **fields)
    written = first.usage.prompt_tokens_details.model_dump()["cache_write_tokens"]
    assert 0 < written == second.usage.prompt_tokens_details.cached_tokens < first.usage.prompt_tokens


@pytest.mark.parametrize(("content", "form", "reason"), BAD.values(), ids=BAD)
def test_what_is_no_sound_is_refused_and_the_model_goes_on(
    ears: RunningServer, content: bytes, form: str, reason: str
) -> None:
    code, param, message = refusal(ears, audio_part(content, form))
    assert (code, param) == ("invalid_value", DATA)
    assert reason in message
    assert is_empty(ears)


def test_sounds_of_one_request_share_a_limit(ears: RunningServer) -> None:
    part = audio_part(wave(tone(8, 0.45 * MAX_S, 8_000), 8_000))
    assert tokens(asked(ears, part, part)) == (2 * N_TOKENS, 0)
    _, param, message = refusal(ears, part, part, part)
    assert param == "messages[0].content[3].input_audio.data"
    assert "It is longer than 2 seconds" in message
    eventually(lambda: is_empty(ears))


def test_a_single_sample_is_a_sound(ears: RunningServer) -> None:
    assert tokens(asked(ears, audio_part(wave(tone(9, 1 / 16_000), 16_000)))) == (N_TOKENS, 0)


@pytest.mark.parametrize("at_s", [0.01, 0.03])
def test_who_leaves_leaves_nothing(ears: RunningServer, at_s: float) -> None:
    part = audio_part(wave(tone(11, MAX_S - 1), 16_000))
    with pytest.raises(openai.APITimeoutError):
        asked(ears, part, timeout=at_s)
    eventually(lambda: is_empty(ears))
    assert asked(ears).usage.completion_tokens == 6


def test_a_model_without_ears_needs_a_listener_still(ears: RunningServer) -> None:
    with pytest.raises(openai.BadRequestError, match="completionist hearing pull"):
        asked(ears, audio_part(wave(tone(12), 16_000)), model="scripted")
