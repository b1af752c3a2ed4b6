"""The seam to what decodes pictures for a model that sees (contract 13.8). Pixels never enter the API process: they are
in a file, which is given to the engine and deleted with the answer."""

from __future__ import annotations

from typing import Protocol

from completionist.types.parts import Base64, Detail, Pixels


class PictureDecoder(Protocol):
    """Decodes pictures."""

    @property
    def missing(self) -> str | None:
        """Why it does not, as a sentence; None: it does."""
        ...

    @property
    def max_images(self) -> int:
        """Of one request."""
        ...

    async def pixels(self, data: Base64, *, detail: Detail, project: str) -> Pixels:
        """Upright, on white, reduced by `detail`. The file is the caller's, who has it deleted (`Senses.forget`).

        Raises `BadPicture`, `Overloaded`, `ServerError`.
        """
        ...

    async def close(self) -> None: ...
