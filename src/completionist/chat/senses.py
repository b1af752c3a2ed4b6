"""What an installation has beside its models: it reads, listens, speaks and searches for those that do not."""

from __future__ import annotations

from typing import Protocol

from completionist.chat.documents import DocumentReader
from completionist.chat.hearing import Listener
from completionist.chat.pictures import PictureReader, PictureSource
from completionist.chat.search import SearchProvider
from completionist.chat.sight import PictureDecoder
from completionist.chat.sound import SoundDecoder
from completionist.chat.speech import Speaker
from completionist.types.parts import Pixels, Samples


class Senses(Protocol):
    """Some of them may be missing, and say so."""

    @property
    def documents(self) -> DocumentReader: ...

    @property
    def listener(self) -> Listener: ...

    @property
    def pictures(self) -> PictureReader: ...

    @property
    def search(self) -> SearchProvider | None:
        """None: the operator has chosen none."""
        ...

    @property
    def sight(self) -> PictureDecoder: ...

    @property
    def sound(self) -> SoundDecoder: ...

    async def forget(self, medium: Pixels | Samples) -> None:
        """Delete what `sight` or `sound` has decoded. Idempotent."""
        ...

    @property
    def fetcher(self) -> PictureSource | None:
        """None: pictures that are elsewhere are refused."""
        ...

    @property
    def speaker(self) -> Speaker: ...
