"""The seam to what understands speech for a model that does not hear (contract 13.8)."""

from __future__ import annotations

from typing import Literal, Protocol

from completionist.types.parts import Base64


class Unintelligible(Exception):
    """Sound that does not decode; `reason` is one more sentence for the client, where there is one to say."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


class Listener(Protocol):
    """Turns speech into words."""

    @property
    def missing(self) -> str | None:
        """What this installation lacks to listen, as a sentence; None: nothing."""
        ...

    async def heard(self, data: Base64, sound_format: Literal["wav", "mp3"], project: str) -> str:
        """The words in `data`; none where nobody speaks.

        Raises `Unintelligible`, `Overloaded`, `ServerError`.
        """
        ...

    async def close(self) -> None: ...
