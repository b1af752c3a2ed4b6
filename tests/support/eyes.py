"""A reader in place of one that finds text in pictures, for everything around it."""

from __future__ import annotations

import base64


class Eyes:
    """A `PictureReader` to whom a picture is its text."""

    missing: str | None = None
    max_images = 3

    async def text_in(self, data: str, *, is_small: bool, project: str) -> str:  # noqa: ARG002 - of the seam
        return base64.b64decode(data).decode() + (" in small" if is_small else "")

    async def close(self) -> None:
        """Nothing to end."""
