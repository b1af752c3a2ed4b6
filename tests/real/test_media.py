"""Real pictures, sound and files to a real model, and its answers aloud: the examples of the audio guide run as they stand."""

from __future__ import annotations

import asyncio
import base64
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from completionist.app import open_media
from completionist.models.hearing import hearing_directory, hearing_models
from completionist.models.pull import fetch
from completionist.models.speech import speech_directory, speech_model
from completionist.settings import HearingSettings, Settings
from tests.media.test_hearing import audio_part, wave
from tests.media.test_pictures import drawn, image_part
from tests.support.ask import official
from tests.support.documents import file_part, pdf
from tests.support.real import running_model

pytestmark = [pytest.mark.large, pytest.mark.timeout(900)]

MODEL = "qwen2.5-coder-0.5b-instruct"
OPTIONS = f"""
[engine]
context_tokens = 4096
[images]
reads_text = true
[hearing]
model = "whisper-tiny.en"
[served."{MODEL}"]
max_output_tokens = 60
[served."gpt-4o-audio-preview"]
model = "{MODEL}"
"""
SPEAKING = """
import base64
from openai import OpenAI

client = OpenAI()

completion = client.chat.completions.create(
    model="gpt-4o-audio-preview",
    modalities=["text", "audio"],
    audio={"voice": "alloy", "format": "wav"},
    messages=[
        {
            "role": "user",
            "content": "Is a golden retriever a good family dog?"
        }
    ]
)

print(completion.choices[0])

wav_bytes = base64.b64decode(completion.choices[0].message.audio.data)
with open("dog.wav", "wb") as f:
    f.write(wav_bytes)
"""
HEARING = """
import base64
import requests
from openai import OpenAI

client = OpenAI()

# Fetch the audio file and convert it to a base64 encoded string
url = "https://cdn.openai.com/API/docs/audio/alloy.wav"
response = requests.get(url)
response.raise_for_status()
wav_data = response.content
encoded_string = base64.b64encode(wav_data).decode('utf-8')

completion = client.chat.completions.create(
    model="gpt-4o-audio-preview",
    modalities=["text", "audio"],
    audio={"voice": "alloy", "format": "wav"},
    messages=[
        {
            "role": "user",
            "content": [
                {
                    "type": "text",
                    "text": "What is in this recording?"
                },
                {
                    "type": "input_audio",
                    "input_audio": {
                        "data": encoded_string,
                        "format": "wav"
                    }
                }
            ]
        },
    ]
)

print(completion.choices[0].message)
"""
GOING_ON = """
import base64
from openai import OpenAI

client = OpenAI()

completion = client.chat.completions.create(
    model="gpt-4o-audio-preview",
    modalities=["text", "audio"],
    audio={"voice": "alloy", "format": "wav"},
    messages=[
        {
            "role": "user",
            "content": "Is a golden retriever a good family dog?"
        },
        {
            "role": "assistant",
            "audio": {
                "id": "audio_abc123"
            }
        },
        {
            "role": "user",
            "content": "Why do you say they are loyal?"
        }
    ],
)

print(completion.choices[0].message.audio.transcript)
"""
REQUESTS = """
from pathlib import Path


class get:
    def __init__(self, url):
        self.content = Path("alloy.wav").read_bytes()

    def raise_for_status(self):
        pass
"""
"""In place of the library: the recording is here, and the network is not."""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = Settings(hearing=HearingSettings(model="whisper-tiny.en"))
    for asset, directory in (
        (speech_model().asset, speech_directory(settings)),
        (hearing_models()["whisper-tiny.en"].asset, hearing_directory(settings)),
    ):
        fetch(asset, directory, settings.models, lambda _: None, command="")
    with running_model(tmp_path_factory.mktemp("media") / "log", MODEL, options=OPTIONS) as url:
        yield url


@pytest.fixture(scope="module")
def recording() -> bytes:
    """A voice that says when the train leaves."""

    async def said() -> bytes:
        media = open_media(Settings())
        try:
            return await media.speaker.say("The train to the city leaves at seven in the morning.", "ash", "tests")
        finally:
            await media.close()

    return wave(np.frombuffer(asyncio.run(said()), "<i2"), 24_000)


def answered(url: str, *parts: dict[str, Any]) -> str:
    with official(url, api_key="none", max_retries=0, timeout=300) as client:
        messages: Any = [{"role": "user", "content": parts}]
        answer = client.chat.completions.create(model=MODEL, messages=messages, temperature=0)
    return str(answer.choices[0].message.content)


def ask_for(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


INVOICE = drawn("Invoice 1207", "Two nets: 30.00 EUR", "One rope: 12.50 EUR", "Total: 42.50 EUR")


def test_the_total_of_an_invoice(url: str) -> None:
    assert "42.50" in answered(url, ask_for("What is the total of this invoice?"), image_part(INVOICE))


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What is the total of the invoice in the picture?", ("42.50",)),
        ("When does the train leave, as the recording says?", ("seven", "7")),
        ("What is the name of the ship in the file?", ("Albatross",)),
    ],
)
def test_a_picture_sound_and_a_file_in_one_message(
    url: str, recording: bytes, question: str, answer: tuple[str, ...]
) -> None:
    ship = file_part("ship.pdf", pdf(["The name of the ship is Albatross."]), "application/pdf")
    said = answered(url, image_part(INVOICE), audio_part(recording), ship, ask_for(question))
    assert any(word in said for word in answer), said


def run_example(code: str, url: str, directory: Path) -> str:
    """What it printed."""
    environment = os.environ | {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "none", "PYTHONPATH": str(directory)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=directory, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_examples_of_the_audio_guide(url: str, recording: bytes, tmp_path: Path) -> None:
    """Unchanged, but for the id of an answer in the last one."""
    (tmp_path / "requests.py").write_text(REQUESTS)
    (tmp_path / "alloy.wav").write_bytes(recording)
    choice = run_example(SPEAKING, url, tmp_path)
    samples, rate = soundfile.read(io.BytesIO((tmp_path / "dog.wav").read_bytes()))
    assert rate == 24_000
    assert len(samples) > rate
    message = run_example(HEARING, url, tmp_path)
    assert base64.b64decode(message.partition("data='")[2].partition("'")[0])[:4] == b"RIFF"
    id_ = choice.partition("id='audio_")[2].partition("'")[0]
    assert run_example(GOING_ON.replace("audio_abc123", f"audio_{id_}"), url, tmp_path).strip()
