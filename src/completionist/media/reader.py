"""Reads files of messages in a media worker."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from importlib.util import find_spec

from completionist.chat.documents import Document, Unreadable
from completionist.media.client import MediaWorker, slices
from completionist.media.frames import PagePicture, Read, ReadDocument, Refused
from completionist.media.handover import HandedFile, Handover
from completionist.settings import DocumentSettings
from completionist.types.parts import Base64, Pixels

_LIBRARIES = ("openpyxl", "pypdfium2")
_MISSING = "PDF and xlsx in messages are refused: pip install 'completionist[documents]'."


class WorkerReader:
    """A `DocumentReader`."""

    def __init__(self, settings: DocumentSettings, handover: Handover) -> None:
        self._settings = settings
        self._handover = handover
        self.missing = None if all(map(find_spec, _LIBRARIES)) else _MISSING
        """What is not installed, as a sentence: other files are read all the same."""
        self.worker = MediaWorker("documents", memory_bytes=settings.memory_bytes, deadline_s=settings.timeout_s)

    async def read(self, document: Document, project: str, *, max_pictures: int) -> Sequence[str | Pixels]:
        n_files = max_pictures if document.kind == "pdf" else 0
        files = [self._handover.file() for _ in range(n_files)]
        pieces: list[str | Pixels] = []
        try:
            pieces += [_piece(piece, files) for piece in await self._read(document, project, files)]
            return pieces
        finally:
            used = {piece.path for piece in pieces if isinstance(piece, Pixels)}
            await asyncio.to_thread(_drop, [file for file in files if str(file.path) not in used])

    async def text_of(self, document: Document, project: str) -> str:
        """Its text alone. Raises what `read` does."""
        pieces = await self.read(document, project, max_pictures=0)
        return "".join(piece for piece in pieces if isinstance(piece, str))

    async def _read(self, document: Document, project: str, files: Sequence[HandedFile]) -> Sequence[str | PagePicture]:
        content = document.content
        question = ReadDocument(
            n_payload_bytes=len(content) if isinstance(content, Base64) else sum(map(len, content)),
            kind=document.kind,
            is_base64=isinstance(content, Base64),
            max_pages=self._settings.max_pages,
            max_characters=self._settings.max_request_characters,
            picture_paths=tuple(str(file.path) for file in files),
            max_picture_side=self._settings.page_picture_side,
        )

        def payload() -> Iterable[bytes]:
            for file in files:
                file.make()
            return slices(content) if isinstance(content, Base64) else content

        match await self.worker.ask(project, question, payload):
            case Read(pieces):
                return pieces
            case Refused(reason):
                raise Unreadable(reason)
            case _:
                raise Unreadable("Reading it takes too much time or memory.")

    async def close(self) -> None:
        """End the worker."""
        await self.worker.close()


def _piece(piece: str | PagePicture, files: Sequence[HandedFile]) -> str | Pixels:
    if isinstance(piece, str):
        return piece
    return Pixels(path=str(files[piece.index].path), width=piece.width, height=piece.height)


def _drop(files: Iterable[HandedFile]) -> None:
    for file in files:
        file.drop()
