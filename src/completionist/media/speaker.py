"""Speaks answers in a media worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import msgspec

from completionist.chat.speech import SoundFormat
from completionist.errors import ServerError
from completionist.media.client import MediaWorker
from completionist.media.frames import EncodeSound, Samples, Speak, Text
from completionist.settings import SpeechSettings

_MEMORY_BYTES = 4 * 2**30
"""Of address space; half a gigabyte of it is used."""
_LIBRARIES = ("hibari", "onnxruntime", "soundfile")
_FORMATS: Sequence[SoundFormat] = ("wav", "aac", "mp3", "flac", "opus", "pcm16")


class VoiceFile(msgspec.Struct, frozen=True, kw_only=True):
    """A style of the speech model."""

    path: Path
    is_british: bool
    gain: float


class SpeechFiles(msgspec.Struct, frozen=True):
    """What speaks, on this machine."""

    model: Path
    voices: Mapping[str, VoiceFile]


class WorkerSpeaker:
    """A `Speaker`. `files` None: they have not been fetched."""

    def __init__(self, files: SpeechFiles | None, settings: SpeechSettings) -> None:
        self._files = files or SpeechFiles(Path(), {})
        self._threads = settings.threads
        self.missing = _missing(files)
        self.voices = tuple(self._files.voices)
        self.formats = tuple(form for form in _FORMATS if form != "aac" or find_spec("av"))
        self.max_answer_s = settings.max_answer_s
        self.worker = MediaWorker("speech", memory_bytes=_MEMORY_BYTES, deadline_s=settings.timeout_s)

    async def say(self, text: str, voice: str, project: str) -> bytes:
        file = self._files.voices[voice]
        question = Speak(
            text=text,
            model_path=str(self._files.model),
            voice_path=str(file.path),
            is_british=file.is_british,
            gain=file.gain,
            threads=self._threads,
        )
        answer = await self.worker.ask(project, question)
        if isinstance(answer, Samples):
            return answer.data
        raise ServerError

    async def encoded(self, samples: Sequence[bytes], sound_format: SoundFormat, project: str) -> str:
        question = EncodeSound(n_payload_bytes=sum(map(len, samples)), sound_format=sound_format)
        answer = await self.worker.ask(project, question, lambda: samples)
        if isinstance(answer, Text):
            return answer.text
        raise ServerError

    async def close(self) -> None:
        """End the worker."""
        await self.worker.close()


def _missing(files: SpeechFiles | None) -> str | None:
    if not all(map(find_spec, _LIBRARIES)):
        return "No speech synthesis is installed: pip install 'completionist[voice]', then completionist voices pull."
    if files is None:
        return "No voices are installed: completionist voices pull fetches them."
    return None
