"""Reads the text in pictures of messages in a media worker."""

from __future__ import annotations

from importlib.util import find_spec

from completionist.chat.pictures import BadPicture
from completionist.media.client import MediaWorker, slices
from completionist.media.frames import BadImage, ReadPicture, Text
from completionist.settings import ImageSettings
from completionist.types.parts import Base64

_MEMORY_BYTES = 4 * 2**30
"""Of address space; half a gigabyte of it is used."""
_LIBRARIES = ("PIL", "rapidocr")


class WorkerLooker:
    """A `PictureReader`."""

    def __init__(self, settings: ImageSettings) -> None:
        self._settings = settings
        self.missing = _missing(settings)
        self.max_images = settings.max_images
        self.worker = MediaWorker("pictures", memory_bytes=_MEMORY_BYTES, deadline_s=settings.timeout_s)

    async def text_in(self, data: Base64, *, is_small: bool, project: str) -> str:
        question = ReadPicture(n_payload_bytes=len(data), is_small=is_small, max_pixels=self._settings.max_pixels)
        answer = await self.worker.ask(project, question, lambda: slices(data))
        match answer:
            case Text():
                return answer.text
            case BadImage():
                raise BadPicture(answer.fault, answer.reason)
            case _:
                raise BadPicture("image_parse_error", "Reading it takes too much time or memory.")

    async def close(self) -> None:
        """End the worker."""
        await self.worker.close()


def _missing(settings: ImageSettings) -> str | None:
    if not settings.reads_text:
        return "This model does not see, and this server does not read the text in pictures."
    if not all(map(find_spec, _LIBRARIES)):
        return "Reading text in pictures is not installed: pip install 'completionist[pictures]'."
    return None
