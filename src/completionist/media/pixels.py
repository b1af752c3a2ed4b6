"""Decodes pictures of messages in a media worker, for models that see."""

from __future__ import annotations

from importlib.util import find_spec

from completionist.chat.pictures import BadPicture
from completionist.errors import ServerError
from completionist.media.client import MediaWorker
from completionist.media.frames import BadImage, Refused, Seen, SeePicture
from completionist.media.handover import Handover
from completionist.settings import ImageSettings
from completionist.types.parts import Base64, Detail, Pixels

_MEMORY_BYTES = 2 * 2**30
"""Of address space."""
_MAX_SIDES: dict[Detail, int | None] = {"low": 512, "auto": 2048, "high": 2048, "original": None}
"""Sides to which a picture is reduced (contract 13.8), in pixels."""


class WorkerDecoder:
    """A `PictureDecoder`."""

    def __init__(self, settings: ImageSettings, handover: Handover) -> None:
        self._settings = settings
        self._handover = handover
        is_here = find_spec("PIL") is not None
        self.missing = None if is_here else "Decoding pictures is not installed: pip install 'completionist[vision]'."
        self.max_images = settings.max_images
        self.worker = MediaWorker("pixels", memory_bytes=_MEMORY_BYTES, deadline_s=settings.timeout_s)

    async def pixels(self, data: Base64, *, detail: Detail, project: str) -> Pixels:
        file = self._handover.file()
        question = SeePicture(
            n_payload_bytes=len(data),
            max_side=_MAX_SIDES[detail],
            max_pixels=self._settings.max_pixels,
            path=str(file.path),
        )
        match answer := await self._handover.written(self.worker, project, question, file, data):
            case Seen():
                return Pixels(path=str(file.path), width=answer.width, height=answer.height)
            case BadImage():
                raise BadPicture(answer.fault, answer.reason)
            case Refused():
                raise ServerError
            case _:
                raise BadPicture("image_parse_error", "Reading it takes too much time or memory.")

    async def close(self) -> None:
        """End the worker."""
        await self.worker.close()
