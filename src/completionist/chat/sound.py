"""The seam to what decodes sound for a model that hears (contract 13.8). Samples never enter the API process: they are in a
file, which is given to the engine and deleted with the answer."""

from __future__ import annotations

from typing import Literal, Protocol

from completionist.types.parts import Base64, Samples


class SoundDecoder(Protocol):
    """Decodes sound."""

    @property
    def missing(self) -> str | None:
        """Why it does not, as a sentence; None: it does."""
        ...

    @property
    def max_s(self) -> float:
        """Of all sound of one request together."""
        ...

    async def samples(
        self, data: Base64, sound_format: Literal["wav", "mp3"], *, rate_hz: int, max_s: float, project: str
    ) -> Samples:
        """One channel, at the rate of the model. The file is the caller's, who has it deleted (`Senses.forget`).

        Raises `Unintelligible`, also beyond `max_s`; `Overloaded`, `ServerError`.
        """
        ...

    async def close(self) -> None: ...
