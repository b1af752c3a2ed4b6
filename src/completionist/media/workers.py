"""The media workers of one server, none of which has a process before it is needed, and what it searches with."""

from __future__ import annotations

from dataclasses import dataclass

from completionist.chat.hearing import Listener
from completionist.chat.pictures import PictureReader, PictureSource
from completionist.chat.search import SearchProvider
from completionist.chat.sight import PictureDecoder
from completionist.chat.speech import Speaker
from completionist.media.reader import WorkerReader


@dataclass
class Media:
    """Belongs to one event loop."""

    documents: WorkerReader
    speaker: Speaker
    listener: Listener
    pictures: PictureReader
    fetcher: PictureSource | None
    search: SearchProvider | None
    sight: PictureDecoder

    async def close(self) -> None:
        """End all processes."""
        await self.documents.close()
        await self.speaker.close()
        await self.listener.close()
        await self.pictures.close()
        if self.search is not None:
            await self.search.close()
        await self.sight.close()
