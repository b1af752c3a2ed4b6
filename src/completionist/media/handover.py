"""Files in which media workers hand pixels and samples to the engine: private, and deleted with the answer."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from pathlib import Path
from threading import Lock

from completionist.media.client import MediaWorker, slices
from completionist.media.frames import Answer, Heard, HearSound, Seen, SeePicture
from completionist.media.scratch import Scratch
from completionist.types.parts import Base64, Pixels, Samples


class Handover:
    """Of one server; several workers write into it."""

    def __init__(self) -> None:
        self._scratch = Scratch()
        self._lock = Lock()

    @property
    def directory(self) -> Path:
        return self._scratch.path

    def file(self) -> HandedFile:
        """A new one, which is not there yet."""
        return HandedFile(self)

    async def written(
        self, worker: MediaWorker, project: str, question: SeePicture | HearSound, file: HandedFile, data: Base64
    ) -> Answer | None:
        """The worker's answer to a question that names `file`, which is there only where the answer says that it is written."""

        def payload() -> Iterator[bytes]:
            file.make()
            return slices(data)

        answer = None
        try:
            answer = await worker.ask(project, question, payload)
        finally:
            if not isinstance(answer, Seen | Heard):
                await asyncio.to_thread(file.drop)
        return answer

    def open(self) -> None:
        """Let the directory be there. Blocks; from any thread. Raises `OSError`."""
        with self._lock:
            self._scratch.open()

    async def forget(self, medium: Pixels | Samples) -> None:
        """Delete its file. Idempotent."""
        await asyncio.to_thread(Path(medium.path).unlink, missing_ok=True)

    async def close(self) -> None:
        """Delete what is left."""
        await asyncio.to_thread(self._scratch.close)


class HandedFile:
    """Who asked for what will be in it may leave before it is there: then it is not made any more."""

    def __init__(self, handover: Handover) -> None:
        self.path = handover.directory / uuid.uuid4().hex
        self._handover = handover
        self._lock = Lock()
        self._is_wanted = True

    def make(self) -> None:
        """On a worker's thread. Nobody else may read it."""
        with self._lock:
            if self._is_wanted:
                self._handover.open()
                self.path.touch(mode=0o600)

    def drop(self) -> None:
        with self._lock:
            self._is_wanted = False
            self.path.unlink(missing_ok=True)
