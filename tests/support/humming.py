"""A speaker in place of a voice, for everything around speech."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from completionist.chat.speech import SoundFormat
from completionist.chat.spool import Spool
from completionist.store.voices import Style


class Humming:
    """A `Speaker`: every character is one sample, so lengths are odd and even, and what was said can be read back."""

    missing: str | None = None
    voices: Sequence[str] = ("alloy", "verse")
    formats: Sequence[str] = ("wav", "pcm16")
    max_answer_s = 3600.0

    def __init__(self) -> None:
        "".encode("utf-16-le")  # imports the codec, here where it may block
        self.said: list[str] = []
        self.voices_used: list[str | Style] = []

    async def say(self, text: str, voice: str | Style, project: str) -> bytes:  # noqa: ARG002 - of the seam
        self.said.append(text)
        self.voices_used.append(voice)
        return text.encode("utf-16-le")

    async def encoded(self, samples: Spool, sound_format: SoundFormat, project: str) -> str:  # noqa: ARG002 - of the seam
        return base64.b64encode(sound_format.encode() + b"".join(samples.slices())).decode()

    async def close(self) -> None:
        """Nothing to end."""
