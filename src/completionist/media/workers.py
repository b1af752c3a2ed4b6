"""The media workers of one server, none of which has a process before it is needed, and what it searches with."""

from __future__ import annotations

from dataclasses import dataclass

from completionist.chat.hearing import Listener
from completionist.chat.pictures import PictureReader, PictureSource
from completionist.chat.search import SearchProvider
from completionist.chat.sight import PictureDecoder
from completionist.chat.sound import SoundDecoder
from completionist.chat.speech import Speaker
from completionist.media.handover import Handover
from completionist.media.reader import WorkerReader
from completionist.types.parts import Pixels, Samples


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
    sound: SoundDecoder
    handover: Handover

    async def forget(self, medium: Pixels | Samples) -> None:
        """Delete what was decoded. Idempotent."""
        await self.handover.forget(medium)

    async def close(self) -> None:
        """End all processes."""
        await self.documents.close()
        await self.speaker.close()
        await self.listener.close()
        await self.pictures.close()
        if self.search is not None:
            await self.search.close()
        await self.sight.close()
        await self.sound.close()
        await self.handover.close()
