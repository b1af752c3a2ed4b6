"""Answers that are spoken: with a speaker that hums in place of a voice, and once with a voice."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import openai
import pytest
import soundfile
from openai.types.chat import ChatCompletionChunk

from completionist import ids
from completionist.cli import run
from completionist.engine.base import Prompt
from completionist.engine.scripted import Move, Pause, pieces
from completionist.models.pull import fetch
from completionist.models.speech import speech_directory, speech_model
from completionist.settings import ServerSettings, Settings, StoreSettings
from tests.conftest import Serve
from tests.media.test_documents import echo
from tests.support.ask import ask, ask_streamed, official
from tests.support.humming import Humming
from tests.support.server import RunningServer, running_server

SPOKEN: dict[str, Any] = {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "pcm16"}}
UNENDING = "High water is at noon, and"
WORDS = "High water, as always, is at noon. Low water is at six."


def settings_at(directory: Path) -> Settings:
    return Settings(server=ServerSettings(port=0), store=StoreSettings(url=f"sqlite:///{directory / 'data.db'}"))


def repeat(prompt: Prompt) -> list[list[Move]]:
    """A script that says what the user said, in every choice."""
    (said,) = echo(prompt)[0]
    assert isinstance(said, bytes)
    text = said.decode().rpartition("user\n")[2].partition("\nassistant")[0]
    return [[*pieces(text), *([Pause(math.inf)] if text == UNENDING else [])]] * prompt.n


@pytest.fixture(scope="module")
def hum() -> Humming:
    return Humming()


@pytest.fixture(scope="module")
def hummed(hum: Humming, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(repeat, settings=settings_at(tmp_path_factory.mktemp("hummed")), speaker=hum) as server:
        yield server


@pytest.fixture
def humming(hum: Humming) -> Humming:
    """That of `hummed`, which has said nothing yet."""
    hum.said.clear()
    return hum


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_at(tmp_path)


def says(text: str) -> dict[str, Any]:
    """What is to be asked so that this is said, aloud."""
    return {**SPOKEN, "messages": [{"role": "user", "content": text}]}


def client_of(server: RunningServer) -> openai.OpenAI:
    return official(server.base_url, api_key="k", max_retries=0, timeout=50)


def samples_of(data: str) -> str:
    """What `Humming` said."""
    return base64.b64decode(data, validate=True).decode("utf-16-le")


def spoken_deltas(chunks: Sequence[ChatCompletionChunk]) -> list[dict[str, Any]]:
    return [choice.delta.model_dump(exclude_unset=True) for chunk in chunks for choice in chunk.choices]


def test_a_plain_answer_is_spoken_and_says_nothing_else(hummed: RunningServer, humming: Humming) -> None:
    message = ask(client_of(hummed), **says(WORDS)).choices[0].message
    assert message.content is None
    assert message.audio
    assert message.audio.transcript == "".join(humming.said) == samples_of(message.audio.data) == WORDS
    assert humming.said == ["High water, ", "as always, is at noon. ", "Low water is at six."]
    assert ids.is_speech_id(message.audio.id)


def test_files_are_written_in_the_format_that_is_wanted(hummed: RunningServer, humming: Humming) -> None:
    answer = ask(
        client_of(hummed), **says(WORDS) | {"modalities": ["audio"], "audio": {"voice": "verse", "format": "wav"}}
    )
    audio = answer.choices[0].message.audio
    assert audio
    assert base64.b64decode(audio.data) == b"wav" + WORDS.encode("utf-16-le")
    assert audio.expires_at == answer.created + 3600


def test_a_stream_carries_words_and_sound_as_the_contract_writes_them(hummed: RunningServer, humming: Humming) -> None:
    chunks = ask_streamed(client_of(hummed), **says(WORDS), stream_options={"include_usage": True})
    deltas = spoken_deltas(chunks)
    speech_id = deltas[1]["audio"]["id"]
    assert deltas[0] == {"role": "assistant", "refusal": None}
    assert deltas[1] == {"content": None, "audio": {"id": speech_id, "transcript": "High"}}
    assert deltas[-2] == {}
    assert deltas[-1] == {"audio": {"expires_at": chunks[0].created + 3600}}
    between = [delta["audio"] for delta in deltas[2:-2]]
    assert all(len(audio) == 1 for audio in between)
    assert "High" + "".join(audio.get("transcript", "") for audio in between) == WORDS
    sound = [audio["data"] for audio in between if "data" in audio]
    assert all(not data.endswith("=") for data in sound[:-1])
    assert samples_of("".join(sound)) == WORDS
    (*_, last, usage) = chunks
    assert "finish_reason" not in last.choices[0].model_fields_set
    assert usage.usage
    assert not usage.choices


def test_the_clients_helper_gathers_the_same(hummed: RunningServer, humming: Humming) -> None:
    with client_of(hummed).chat.completions.stream(model="scripted", **says(WORDS)) as stream:
        audio = stream.get_final_completion().choices[0].message.audio
    assert audio
    assert (audio.transcript, samples_of(audio.data)) == (WORDS, WORDS)


def test_the_first_clause_is_heard_while_the_text_is_being_written(hummed: RunningServer, humming: Humming) -> None:
    with client_of(hummed).chat.completions.create(model="scripted", stream=True, **says(UNENDING)) as stream:
        deltas = (delta.get("audio", {}) for chunk in stream for delta in spoken_deltas([chunk]))
        sound = next(audio["data"] for audio in deltas if "data" in audio)
    assert UNENDING.startswith(base64.b64decode(sound)[:40].decode("utf-16-le"))
    assert humming.said == ["High water is at noon, "]


def test_what_a_stop_string_cuts_is_never_spoken(hummed: RunningServer, humming: Humming) -> None:
    answer = ask(client_of(hummed), **says(WORDS), stop=" Low")
    audio = answer.choices[0].message.audio
    assert audio
    assert audio.transcript == "".join(humming.said) == "High water, as always, is at noon."
    assert answer.choices[0].finish_reason == "stop"


TOOLS = [{"type": "function", "function": {"name": "tide", "parameters": {"type": "object", "properties": {}}}}]
CALL = '<tool_call>\n{"name": "tide", "arguments": {}}\n</tool_call>'


@pytest.mark.parametrize(("text", "transcript"), [(CALL, None), (f"One moment.\n{CALL}", "One moment.")])
def test_a_call_answers_in_text(hummed: RunningServer, humming: Humming, text: str, transcript: str | None) -> None:
    message = ask(client_of(hummed), **says(text), tools=TOOLS).choices[0].message
    assert message.content is None
    assert message.tool_calls
    assert (message.audio.transcript if message.audio else None) == transcript
    assert "".join(humming.said) == (transcript or "")
    deltas = spoken_deltas(ask_streamed(client_of(hummed), **says(text), tools=TOOLS))
    assert [delta for delta in deltas if "tool_calls" in delta]
    assert any("audio" in delta for delta in deltas) == (transcript is not None)


def test_every_choice_has_a_speech_of_its_own_and_tokens_are_told_apart(
    hummed: RunningServer, humming: Humming
) -> None:
    answer = ask(client_of(hummed), **says(WORDS), n=2)
    speeches = [choice.message.audio for choice in answer.choices]
    assert len({speech.id for speech in speeches if speech}) == 2
    usage = answer.usage
    assert usage
    assert usage.completion_tokens_details
    assert usage.prompt_tokens_details
    n_words = len(pieces(WORDS))
    assert usage.completion_tokens_details.audio_tokens == 2 * n_words
    assert usage.completion_tokens_details.model_dump()["text_tokens"] == usage.completion_tokens - 2 * n_words == 2
    assert usage.prompt_tokens_details.model_dump()["text_tokens"] == usage.prompt_tokens


def test_an_answer_without_words_is_an_empty_speech(hummed: RunningServer, humming: Humming) -> None:
    audio = ask(client_of(hummed), **says("")).choices[0].message.audio
    assert audio
    assert (audio.data, audio.transcript) == ("", "")


def test_a_speech_can_be_named_until_it_expires(
    serve: Serve, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(echo, settings=settings, speaker=Humming())
    client = client_of(server)
    first: Any = ask(client, messages=[{"role": "user", "content": "Tide?"}], **SPOKEN).choices[0].message
    history: list[Any] = [{"role": "user", "content": "Tide?"}, {"role": "assistant", "audio": {"id": first.audio.id}}]
    again = {"role": "user", "content": "Say that again."}
    text = ask(client, messages=[*history, again]).choices[0].message.content
    assert text
    assert f"assistant\n{first.audio.transcript}\nuser\nSay that again." in text
    assert ask(client, messages=[*history[:1], first.model_dump(), again]).choices[0].message.content == text
    unknown = {"role": "assistant", "audio": {"id": "audio_" + "0" * 32}}
    refused = [[history[0], unknown, again], [history[0], {"role": "assistant", "audio": {"id": "x" * 100}}, again]]
    later = ids.now_s() + 3601
    monkeypatch.setattr(ids, "now_s", lambda: later)
    for messages in (*refused, [*history, again]):
        with pytest.raises(openai.BadRequestError, match="No audio answer with this id is held here") as caught:
            ask(client, messages=messages)
        assert (caught.value.param, caught.value.code) == ("messages[1].audio.id", "invalid_value")


def test_speech_longer_than_the_operator_lets_it_be_is_refused(
    hummed: RunningServer, humming: Humming, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(humming, "max_answer_s", 0.001)
    with pytest.raises(openai.BadRequestError, match=r"more than 0\.001 seconds"):
        ask(client_of(hummed), **says(WORDS))


@pytest.mark.parametrize(
    ("fields", "code", "param", "text"),
    [
        ({"voice": "nobody"}, "invalid_value", "audio.voice", "Supported values are: 'alloy' and 'verse'."),
        ({"voice": {"id": "voice_1"}}, "invalid_value", "audio.voice.id", "There is no custom voice with this id."),
        ({"format": "aac"}, "unsupported_value", "audio.format", "Supported values are: 'wav' and 'pcm16'."),
    ],
)
def test_what_cannot_be_spoken_is_refused(
    hummed: RunningServer, fields: dict[str, Any], *, code: str, param: str, text: str
) -> None:
    with pytest.raises(openai.BadRequestError, match=text) as caught:
        ask(client_of(hummed), modalities=["text", "audio"], audio={**SPOKEN["audio"], **fields})
    assert (caught.value.code, caught.value.param) == (code, param)


def test_without_voices_the_refusal_says_how_to_have_them(serve: Serve, tmp_path: Path) -> None:
    settings = Settings(server=ServerSettings(port=0)).model_copy(
        update={"speech": Settings().speech.model_copy(update={"directory": tmp_path})}
    )
    server = serve(settings=settings)
    with pytest.raises(openai.BadRequestError, match="completionist voices pull") as caught:
        ask(client_of(server), **SPOKEN)
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", "modalities")
    for name in speech_model().asset.names:  # pulled meanwhile
        (tmp_path / name).touch()
    with pytest.raises(openai.BadRequestError, match="Supported values are: 'alloy', 'ash'"):
        ask(client_of(server), modalities=["text", "audio"], audio={"voice": "nobody", "format": "wav"})


@pytest.fixture(scope="module")
def voice_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the database of `voice_server`."""
    return tmp_path_factory.mktemp("voices")


@pytest.fixture(scope="module")
def voice_server(voice_directory: Path) -> Iterator[RunningServer]:
    """With the voices, and a script that says what the user said."""
    settings = settings_at(voice_directory)
    fetch(speech_model().asset, speech_directory(settings), settings.models, lambda _: None, command="")

    with running_server(repeat, settings=settings) as server:
        yield server


def sound_of(server: RunningServer, text: str, voice: str | dict[str, str], form: str) -> Any:
    """Samples of what the answer says, and their rate."""
    with client_of(server) as client:
        messages = [{"role": "user", "content": text}]
        message = ask(client, messages=messages, modalities=["text", "audio"], audio={"voice": voice, "format": form})
        audio = message.choices[0].message.audio
    assert audio
    assert audio.transcript == text
    data = io.BytesIO(base64.b64decode(audio.data))
    if form == "pcm16":
        return soundfile.read(data, format="RAW", samplerate=24_000, channels=1, subtype="PCM_16")
    if form == "aac":
        with av.open(data, "r", format="aac") as container:
            frames = [frame.to_ndarray().ravel() for frame in container.decode(audio=0)]
            return np.concatenate(frames), container.streams.audio[0].rate
    return soundfile.read(data)


def test_a_voice_speaks(voice_server: RunningServer) -> None:
    samples, rate = sound_of(voice_server, "High water.", "alloy", "mp3")
    assert rate == 24_000
    assert 0.4 < len(samples) / rate < 3
    assert abs(samples).max() > 0.1


def test_a_blend_lies_between_its_voices(
    voice_server: RunningServer, voice_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of one voice is that voice; half of each is neither."""
    config = voice_directory / "completionist.toml"
    config.write_text(f'[store]\nurl = "{settings_at(voice_directory).store.url}"\n')

    def sound(blend: str) -> bytes:
        assert run(["voices", "create", "x", "--blend", blend, "--config", str(config)]) == 0
        samples, rate = sound_of(voice_server, "High water.", {"id": capsys.readouterr().out.strip()}, "pcm16")
        assert 0.4 < len(samples) / rate < 3
        assert abs(samples).max() > 0.1
        return bytes(samples.tobytes())

    alone = {voice: sound_of(voice_server, "High water.", voice, "pcm16")[0].tobytes() for voice in ("alloy", "onyx")}
    assert sound("alloy") == alone["alloy"]
    assert sound("alloy=0.5,onyx=0.5") not in alone.values()


@pytest.mark.large
@pytest.mark.timeout(600)
@pytest.mark.parametrize("form", ["wav", "mp3", "flac", "opus", "aac", "pcm16"])
def test_all_voices_speak_in_all_formats(voice_server: RunningServer, form: str) -> None:
    """Each voice another sound, and the same one every time."""
    seen = set()
    for voice in speech_model().voices:
        samples, rate = sound_of(voice_server, "High water is at noon.", voice, form)
        assert 0.8 < len(samples) / rate < 4
        seen.add(samples.tobytes())
    assert len(seen) == 13
