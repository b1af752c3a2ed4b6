"""Sound in messages: with a listener to whom sound is words, with files that are none, and once with speech."""

from __future__ import annotations

import base64
import difflib
import io
import re
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import openai
import pytest
import soundfile

from completionist.models.hearing import hearing_directory, hearing_models
from completionist.models.pull import fetch
from completionist.models.speech import speech_directory, speech_model
from completionist.settings import HearingSettings, ServerSettings, Settings
from tests.conftest import Serve
from tests.media.test_documents import echo
from tests.media.test_speech import client_of, repeat, sound_of
from tests.support.ask import ask, ask_streamed
from tests.support.parrot import Parrot
from tests.support.server import RunningServer, running_server

TEXT = {"type": "text", "text": "What do you hear?"}
DATA = "messages[0].content[1].input_audio.data"
SETTINGS = Settings(server=ServerSettings(port=0), hearing=HearingSettings(model="whisper-tiny.en", max_audio_s=20.0))


def audio_part(content: bytes, form: str = "wav") -> dict[str, Any]:
    return {"type": "input_audio", "input_audio": {"data": base64.b64encode(content).decode(), "format": form}}


def ask_about(server: RunningServer, part: dict[str, Any]) -> Any:
    with client_of(server) as client:
        return ask(client, messages=[{"role": "user", "content": [TEXT, part]}])


def words_of(answer: Any) -> str:
    """What the model got behind the question."""
    text = answer.choices[0].message.content.removeprefix("user\n").partition("\nassistant")[0]
    assert text.startswith("What do you hear?\n\n")
    return str(text).removeprefix("What do you hear?\n\n")


def test_words_stand_in_the_prompt_and_their_tokens_are_told_apart(serve: Serve) -> None:
    server = serve(echo, listener=Parrot())
    said = "High water is at noon."
    answer = ask_about(server, audio_part(said.encode()))
    assert words_of(answer) == said
    usage = answer.usage
    without = ask_about(server, {"type": "text", "text": "\n\n"}).usage.prompt_tokens
    details = usage.prompt_tokens_details.model_dump()
    assert details["audio_tokens"] == usage.prompt_tokens - without > 0
    assert (details["text_tokens"], details["image_tokens"]) == (without, 0)
    options = {"stream_options": {"include_usage": True}}
    with client_of(server) as client:
        chunks = ask_streamed(
            client, messages=[{"role": "user", "content": [TEXT, audio_part(said.encode())]}], **options
        )
    assert chunks[-1].usage == usage


def test_a_server_without_ears_says_how_to_have_them(serve: Serve) -> None:
    server = serve(settings=SETTINGS.model_copy(update={"hearing": HearingSettings(directory="/nowhere")}))
    with pytest.raises(openai.BadRequestError, match="completionist hearing pull fetches its model") as caught:
        ask_about(server, audio_part(b"x"))
    assert caught.value.param == "messages.[0].content.[1].type"


@pytest.fixture(scope="module")
def ears() -> Iterator[RunningServer]:
    """With the small English model, the voices, and a script that says what it was asked."""
    fetch(
        hearing_models()["whisper-tiny.en"].asset,
        hearing_directory(SETTINGS),
        SETTINGS.models,
        lambda _: None,
        command="",
    )
    fetch(speech_model().asset, speech_directory(SETTINGS), SETTINGS.models, lambda _: None, command="")
    with running_server(repeat, settings=SETTINGS) as server:
        yield server


def wave(samples: Any, rate: int, form: str = "WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=form)
    return file.getvalue()


def header(*, n_bytes: int, rate: int, n_channels: int = 1) -> bytes:
    """Of a WAV file that announces so many bytes of samples."""
    shape = struct.pack("<HHIIHH", 1, n_channels, rate, (rate * 2 * n_channels) & 0xFFFFFFFF, 2 * n_channels, 16)
    size = struct.pack("<I", n_bytes & 0xFFFFFFFF)
    return b"RIFF" + size + b"WAVEfmt " + struct.pack("<I", 16) + shape + b"data" + size


SILENCE = bytes(16_000)
BAD = {
    "row 37 wrong format": (b"\xff\xfb\x90\x00" + bytes(400), "wav", "is not of valid wav format."),
    "row 37 a wav called mp3": (wave(np.zeros(800), 8_000), "mp3", "is not of valid mp3 format."),
    "row 37 zero samples": (wave(np.zeros(0), 8_000), "wav", "is not of valid wav format."),
    "row 37 rubbish": (b"RIFF" + b"x" * 100, "wav", "is not of valid wav format."),
    "row 37 rubbish mp3": (b"x" * 1000, "mp3", "is not of valid mp3 format."),
    "too long": (wave(np.zeros(8_000 * 21), 8_000), "wav", "It is longer than 20 seconds."),
    "row 37 one hertz": (header(n_bytes=2000, rate=1) + bytes(2000), "wav", "It is longer than 20 seconds."),
}


@pytest.mark.parametrize(("content", "form", "reason"), BAD.values(), ids=BAD)
def test_what_cannot_be_heard_is_refused(ears: RunningServer, content: bytes, form: str, reason: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask_about(ears, audio_part(content, form))
    assert (caught.value.code, caught.value.param) == ("invalid_value", DATA)
    body: Any = caught.value.body
    assert body["message"].endswith(reason)


ODD = {
    "row 37 four gigabytes announced": (header(n_bytes=2**32 - 1, rate=8_000) + SILENCE, "wav"),
    "row 37 768 kHz": (header(n_bytes=16_000, rate=768_000) + SILENCE, "wav"),
    "row 37 32 channels": (header(n_bytes=16_000, rate=8_000, n_channels=32) + SILENCE, "wav"),
    "row 37 a picture of 20 MB": (
        b"ID3\x03\x00\x00" + bytes((0x09, 0x44, 0x5A, 0x00)) + bytes(0x09 * 2**21 + 0x44 * 2**14 + 0x5A * 2**7)
        + wave(np.zeros(8_000), 16_000, "MP3"), "mp3",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("content", "form"), ODD.values(), ids=ODD)
def test_odd_sound_is_heard_or_refused_and_nothing_breaks(ears: RunningServer, content: bytes, form: str) -> None:
    was_ready = ears.registry.is_ready
    try:
        words_of(ask_about(ears, audio_part(content, form)))
    except openai.BadRequestError as error:
        assert error.param == DATA  # noqa: PT017 - either will do
    assert ears.registry.is_ready == was_ready


def is_alike(heard: str, said: str) -> bool:
    """But for a word or two, which ears so small may get wrong."""
    ours, theirs = (re.findall(r"[a-z]+", text.lower()) for text in (heard, said))
    return difflib.SequenceMatcher(None, a=ours, b=theirs).ratio() >= 0.8


@pytest.mark.large
@pytest.mark.timeout(300)
@pytest.mark.parametrize("voice", speech_model().voices)
def test_every_voice_is_understood_in_every_format(ears: RunningServer, voice: str) -> None:
    said = "The train to the city leaves at noon, and it is never late."
    for form in ("wav", "mp3", "flac", "opus", "aac", "pcm16"):
        samples, rate = sound_of(ears, said, voice, form)
        heard = words_of(ask_about(ears, audio_part(wave(samples, rate))))
        assert is_alike(heard, said), (form, heard)


def test_speech_is_understood(ears: RunningServer) -> None:
    """What a voice says is what the ears hear, at another rate and with noise."""
    said = "The train to the city leaves at noon, and it is never late."
    samples, rate = sound_of(ears, said, "marin", "wav")
    noisy = samples[::2] + np.random.default_rng(1).normal(0, 0.003, len(samples[::2]))
    assert is_alike(words_of(ask_about(ears, audio_part(wave(noisy, rate // 2)))), said)


@pytest.mark.large
def test_mp3_in_two_channels_is_understood(ears: RunningServer) -> None:
    said = "The train to the city leaves at noon, and it is never late."
    samples, rate = sound_of(ears, said, "alloy", "flac")
    sound = audio_part(wave(np.stack([samples, samples], 1), rate, "MP3"), "mp3")
    assert is_alike(words_of(ask_about(ears, sound)), said)
