"""Listens to sound of messages in a media worker."""

from __future__ import annotations

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
    """A `Listener`. `model` is a directory; None: it has not been fetched."""

    def __init__(self, model: Path | None, settings: HearingSettings) -> None:
        self._model = model
        self._settings = settings
        self.missing = _missing(model)
        self.worker = MediaWorker("hearing", memory_bytes=_MEMORY_BYTES, deadline_s=settings.timeout_s)

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


def _missing(model: Path | None) -> str | None:
    if not all(map(find_spec, _LIBRARIES)):
        return (
            "No speech recognition is installed: pip install 'completionist[hearing]', then completionist hearing pull."
        )
    if model is None:
        return "No speech recognition is installed: completionist hearing pull fetches its model."
    return None
