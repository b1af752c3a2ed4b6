"""The seam to the voices that projects have of their own (contract 8.5).

A voice is kept as its style, so that it sounds the same for as long as it is there, whatever it was made of.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

STYLE_BYTES = 510 * 256 * 4


class Style(msgspec.Struct, frozen=True, kw_only=True):
    """How a voice sounds.

    `numbers`: 510 rows of 256 float32, little-endian, `STYLE_BYTES` in all, every one finite; a row for each length of an
    utterance.
    """

    numbers: bytes
    is_british: bool
    gain: float
    """What its samples are multiplied by."""


class VoiceBook(Protocol):
    """Where they are kept."""

    async def style(self, project: str, id_: str) -> Style | None:
        """None: there is no such voice in the project. Raises `StorageUnavailable`."""
        ...
