"""The media workers of one server. None has a process before it is needed."""

from __future__ import annotations

from completionist.chat.speech import Speaker
from completionist.media.reader import WorkerReader


class Media:
    """Belongs to one event loop."""

    def __init__(self, documents: WorkerReader, speaker: Speaker) -> None:
        self.documents = documents
        self.speaker = speaker

    async def close(self) -> None:
        """End all processes."""
        await self.documents.close()
        await self.speaker.close()
