"""A listener in place of one that understands speech, for everything around it."""

from __future__ import annotations

import base64
from typing import Literal

from completionist.chat.hearing import Unintelligible
from completionist.types.parts import Base64


class Parrot:
    """A `Listener` whose sound is the words themselves; an empty one cannot be understood."""

    missing: str | None = None

    async def heard(self, data: Base64, sound_format: Literal["wav", "mp3"], project: str) -> str:  # noqa: ARG002 - of the seam
        if not data.text:
            raise Unintelligible
        return base64.b64decode(data.text).decode()

    async def close(self) -> None:
        """Nothing to end."""
