"""Decodes sound of messages in a media worker, for models that hear."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal

from completionist.chat.hearing import Unintelligible
from completionist.errors import ServerError
from completionist.media.client import MediaWorker
from completionist.media.frames import Heard, HearSound, Refused
from completionist.media.handover import Handover
from completionist.settings import HearingSettings
from completionist.types.parts import Base64, Samples

_MEMORY_BYTES = 2 * 2**30
"""Of address space."""


class WorkerSoundDecoder:
    """A `SoundDecoder`."""

    def __init__(self, settings: HearingSettings, handover: Handover) -> None:
        self._handover = handover
        is_here = find_spec("av") is not None
        self.missing = None if is_here else "Decoding sound is not installed: pip install 'completionist[hearing]'."
        self.max_s = settings.max_audio_s
        self.worker = MediaWorker("samples", memory_bytes=_MEMORY_BYTES, deadline_s=settings.timeout_s)

    async def samples(
        self, data: Base64, sound_format: Literal["wav", "mp3"], *, rate_hz: int, max_s: float, project: str
    ) -> Samples:
        file = self._handover.file()
        question = HearSound(
            n_payload_bytes=len(data),
            sound_format=sound_format,
            rate_hz=rate_hz,
            max_s=max_s,
            path=str(file.path),
        )
        match answer := await self._handover.written(self.worker, project, question, file, data):
            case Heard():
                return Samples(path=str(file.path), n_samples=answer.n_samples)
            case Refused():
                raise Unintelligible(answer.reason)
            case None:
                raise Unintelligible("Decoding it takes too much time or memory.")
        raise ServerError

    async def close(self) -> None:
        """End the worker."""
        await self.worker.close()
