"""Reads files of messages in a media worker."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.util import find_spec

from completionist.chat.documents import Document, Unreadable
from completionist.media.client import MediaWorker, slices
from completionist.media.frames import Answer, ReadDocument, Refused, Text
from completionist.settings import DocumentSettings
from completionist.types.parts import Base64

_LIBRARIES = ("openpyxl", "pypdfium2")
_MISSING = "PDF and xlsx in messages are refused: pip install 'completionist[documents]'."


class WorkerReader:
    """A `DocumentReader`."""

    def __init__(self, settings: DocumentSettings) -> None:
        self._settings = settings
        self.missing = None if all(map(find_spec, _LIBRARIES)) else _MISSING
        """What is not installed, as a sentence: other files are read all the same."""
        self.worker = MediaWorker("documents", memory_bytes=settings.memory_bytes, deadline_s=settings.timeout_s)

    async def text_of(self, document: Document, project: str) -> str:
        content = document.content
        if isinstance(content, Base64):
            answer = await self._ask(document, project, len(content), lambda: slices(content))
        else:
            answer = await self._ask(document, project, sum(map(len, content)), lambda: content)
        match answer:
            case Text():
                return answer.text
            case Refused():
                raise Unreadable(answer.reason)
            case _:
                raise Unreadable("Reading it takes too much time or memory.")

    async def _ask(
        self, document: Document, project: str, n_bytes: int, payload: Callable[[], Iterable[bytes]]
    ) -> Answer | None:
        question = ReadDocument(
            n_payload_bytes=n_bytes,
            kind=document.kind,
            is_base64=isinstance(document.content, Base64),
            max_pages=self._settings.max_pages,
            max_characters=self._settings.max_request_characters,
        )
        return await self.worker.ask(project, question, payload)

    async def close(self) -> None:
        """End the worker."""
        await self.worker.close()
