"""Speaks answers in a media worker."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import msgspec

from completionist.chat.speech import SoundFormat
from completionist.chat.spool import Spool
from completionist.errors import ServerError
from completionist.media.client import MediaWorker
from completionist.media.frames import EncodeSound, Samples, Speak, Text
from completionist.settings import SpeechSettings
from completionist.store.voices import Style

_MEMORY_BYTES = 4 * 2**30
"""Of address space; half a gigabyte of it is used."""
_NICENESS = 7
"""Somebody listens, while what is spoken is still being written: less patient than other media work. At 5 a stream beside it
is nearly 1.5 times as slow (p95), at 10 a clause is late beside other busy processes."""
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
    """A `Speaker`. `find` looks for the files, None where they have not been fetched: it is asked until they are there."""

    def __init__(self, find: Callable[[], SpeechFiles | None], settings: SpeechSettings) -> None:
        self._find = find
        self._found = find()
        self._has_libraries = all(map(find_spec, _LIBRARIES))
        self._threads = settings.threads
        self.formats = tuple(form for form in _FORMATS if form != "aac" or find_spec("av"))
        self.max_answer_s = settings.max_answer_s
        self.worker = MediaWorker(
            "speech", memory_bytes=_MEMORY_BYTES, deadline_s=settings.timeout_s, niceness=_NICENESS
        )

    @property
    def missing(self) -> str | None:
        if not self._has_libraries:
            return (
                "No speech synthesis is installed: pip install 'completionist[voice]', then completionist voices pull."
            )
        if self._files is None:
            return "No voices are installed: completionist voices pull fetches them."
        return None

    @property
    def voices(self) -> Sequence[str]:
        return tuple(self._files.voices) if self._files else ()

    async def say(self, text: str, voice: str | Style, project: str) -> bytes:
        files = self._files
        if files is None:
            raise ServerError  # they were there when the request was judged
        sound = files.voices[voice] if isinstance(voice, str) else voice
        path, numbers = (str(sound.path), b"") if isinstance(sound, VoiceFile) else (None, sound.numbers)
        question = Speak(
            n_payload_bytes=len(numbers),
            text=text,
            model_path=str(files.model),
            voice_path=path,
            is_british=sound.is_british,
            gain=sound.gain,
            threads=self._threads,
        )
        answer = await self.worker.ask(project, question, lambda: (numbers,))
        if isinstance(answer, Samples):
            return answer.data
        raise ServerError

    async def encoded(self, samples: Spool, sound_format: SoundFormat, project: str) -> str:
        question = EncodeSound(n_payload_bytes=samples.n_bytes, sound_format=sound_format)
        answer = await self.worker.ask(project, question, samples.slices)
        if isinstance(answer, Text):
            return answer.text
        raise ServerError

    async def close(self) -> None:
        """End the worker."""
        await self.worker.close()

    @property
    def _files(self) -> SpeechFiles | None:
        """A few looks at the disk, while there is nothing."""
        self._found = self._found or self._find()
        return self._found
