"""Listens to sound of messages in a media worker."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from completionist.chat.hearing import Unintelligible
from completionist.errors import ServerError
from completionist.media.client import MediaWorker, slices
from completionist.media.frames import Listen, Refused, Text
from completionist.settings import HearingSettings
from completionist.types.parts import Base64

_MEMORY_BYTES = 4 * 2**30
"""Of address space; half a gigabyte of it is used."""
_LIBRARIES = ("av", "faster_whisper")


class WorkerListener:
    """A `Listener`. `find` looks for the model's directory, None where it is not here: it is asked until it is."""

    def __init__(self, find: Callable[[], Path | None], settings: HearingSettings) -> None:
        self._find = find
        self._found = find()
        self._has_libraries = all(map(find_spec, _LIBRARIES))
        self._settings = settings
        self.worker = MediaWorker("hearing", memory_bytes=_MEMORY_BYTES, deadline_s=settings.timeout_s)

    @property
    def missing(self) -> str | None:
        if not self._has_libraries:
            return "No speech recognition is installed: pip install 'completionist[hearing]', then completionist hearing pull."
        if self._model is None:
            return "No speech recognition is installed: completionist hearing pull fetches its model."
        return None

    async def heard(self, data: Base64, sound_format: Literal["wav", "mp3"], project: str) -> str:
        question = Listen(
            n_payload_bytes=len(data),
            sound_format=sound_format,
            model_path=str(self._model),
            threads=self._settings.threads,
            max_s=self._settings.max_audio_s,
        )
        answer = await self.worker.ask(project, question, lambda: slices(data))
        match answer:
            case Text():
                return answer.text
            case Refused():
                raise Unintelligible(answer.reason)
            case None:
                raise Unintelligible("Listening to it takes too much time or memory.")
        raise ServerError

    async def close(self) -> None:
        """End the worker."""
        await self.worker.close()

    @property
    def _model(self) -> Path | None:
        """A look at the disk, while there is nothing."""
        self._found = self._found or self._find()
        return self._found
