"""Decodes pictures of messages in a media worker, for models that see."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from threading import Lock

from completionist.chat.pictures import BadPicture
from completionist.errors import ServerError
from completionist.media.client import MediaWorker, slices
from completionist.media.frames import BadImage, Refused, Seen, SeePicture
from completionist.media.scratch import Scratch
from completionist.settings import ImageSettings
from completionist.types.parts import Base64, Detail, Pixels

_MEMORY_BYTES = 2 * 2**30
"""Of address space."""
_MAX_SIDES: dict[Detail, int | None] = {"low": 512, "auto": 2048, "high": 2048, "original": None}
"""Sides to which a picture is reduced (contract 13.8), in pixels."""


class WorkerDecoder:
    """A `PictureDecoder`."""

    def __init__(self, settings: ImageSettings) -> None:
        self._settings = settings
        self._scratch = Scratch()
        is_here = find_spec("PIL") is not None
        self.missing = None if is_here else "Decoding pictures is not installed: pip install 'completionist[vision]'."
        self.max_images = settings.max_images
        self.worker = MediaWorker("pixels", memory_bytes=_MEMORY_BYTES, deadline_s=settings.timeout_s)

    @property
    def directory(self) -> Path:
        """Of the files with pixels."""
        return self._scratch.path

    async def pixels(self, data: Base64, *, detail: Detail, project: str) -> Pixels:
        file = _File(self._scratch)
        question = SeePicture(
            n_payload_bytes=len(data),
            max_side=_MAX_SIDES[detail],
            max_pixels=self._settings.max_pixels,
            path=str(file.path),
        )

        def payload() -> Iterator[bytes]:
            file.make()
            return slices(data)

        answer = None
        try:
            answer = await self.worker.ask(project, question, payload)
        finally:
            if not isinstance(answer, Seen):
                await asyncio.to_thread(file.drop)
        match answer:
            case Seen():
                return Pixels(path=str(file.path), width=answer.width, height=answer.height)
            case BadImage():
                raise BadPicture(answer.fault, answer.reason)
            case Refused():
                raise ServerError
            case _:
                raise BadPicture("image_parse_error", "Reading it takes too much time or memory.")

    async def forget(self, pixels: Pixels) -> None:
        await asyncio.to_thread(Path(pixels.path).unlink, missing_ok=True)

    async def close(self) -> None:
        """End the worker, and delete what is left."""
        await self.worker.close()
        await asyncio.to_thread(self._scratch.close)


class _File:
    """For the pixels of one picture. Who asked may leave before it is there: then it is not made any more."""

    def __init__(self, scratch: Scratch) -> None:
        self.path = scratch.path / uuid.uuid4().hex
        self._scratch = scratch
        self._lock = Lock()
        self._is_wanted = True

    def make(self) -> None:
        """On the worker's thread. Nobody else may read it."""
        with self._lock:
            if self._is_wanted:
                self._scratch.open()
                self.path.touch(mode=0o600)

    def drop(self) -> None:
        with self._lock:
            self._is_wanted = False
            self.path.unlink(missing_ok=True)
