"""A listener in place of one that understands speech, for everything around it."""

from __future__ import annotations

import base64
from typing import Literal

from completionist.chat.hearing import Unintelligible


class Parrot:
    """A `Listener` whose sound is the words themselves; an empty one cannot be understood."""

    missing: str | None = None

    async def heard(self, data: str, sound_format: Literal["wav", "mp3"], project: str) -> str:  # noqa: ARG002 - of the seam
        if not data:
            raise Unintelligible
        return base64.b64decode(data).decode()

    async def close(self) -> None:
        """Nothing to end."""
