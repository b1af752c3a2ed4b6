"""What travels between the API process and a media worker: a question with its payload, then one answer (`framed`).

    question · payload, `n_payload_bytes` of it as they are      → answer

A payload is not part of its question's message: it goes out slice by slice, so that nobody copies all of it at once.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from completionist.chat.documents import DocumentKind
from completionist.chat.pictures import ImageFault
from completionist.chat.speech import SoundFormat


class ReadDocument(msgspec.Struct, frozen=True, kw_only=True, tag="document"):
    """The payload is a file. Answered with `Read`."""

    n_payload_bytes: int
    kind: DocumentKind
    is_base64: bool
    max_pages: int
    max_characters: int
    picture_paths: tuple[str, ...] = ()
    """Of files, which are there, for pictures of its first pages; none: they are not wanted."""
    max_picture_side: int = 0
    """In pixels."""


class PagePicture(msgspec.Struct, frozen=True, kw_only=True, tag="page"):
    """A picture that is in a file: three bytes a pixel, row by row."""

    index: int
    """In `ReadDocument.picture_paths`."""
    width: int
    height: int


class Read(msgspec.Struct, frozen=True, tag="read"):
    """Of a file: its text, and pictures of its pages where they stand in it."""

    pieces: tuple[str | PagePicture, ...]


class Speak(msgspec.Struct, frozen=True, kw_only=True, tag="speak"):
    """Answered with `Samples`. The payload is the voice's style, where that is no file."""

    n_payload_bytes: int = 0
    text: str
    model_path: str
    voice_path: str | None
    """Of its style: 510 rows of 256 numbers, one for each length of an utterance."""
    is_british: bool
    gain: float
    threads: int


class EncodeSound(msgspec.Struct, frozen=True, kw_only=True, tag="encode"):
    """The payload is samples, 16 bit, 24 kHz, one channel. Answered with `Text`: a whole file as base64."""

    n_payload_bytes: int
    sound_format: SoundFormat


class Listen(msgspec.Struct, frozen=True, kw_only=True, tag="listen"):
    """The payload is a sound file as base64. Answered with `Text`: its words."""

    n_payload_bytes: int
    sound_format: Literal["wav", "mp3"]
    model_path: str
    threads: int
    max_s: float


class ReadPicture(msgspec.Struct, frozen=True, kw_only=True, tag="picture"):
    """The payload is a picture as base64. Answered with `Text` or `BadImage`."""

    n_payload_bytes: int
    is_small: bool
    max_pixels: int


class SeePicture(msgspec.Struct, frozen=True, kw_only=True, tag="see"):
    """The payload is a picture as base64. Answered with `Seen` or `BadImage`."""

    n_payload_bytes: int
    max_side: int | None
    """To which it is reduced, in pixels."""
    max_pixels: int
    path: str
    """Of a file, which is there, for its pixels: three bytes each, row by row."""


class Seen(msgspec.Struct, frozen=True, kw_only=True, tag="seen"):
    """The file is written."""

    width: int
    height: int


class HearSound(msgspec.Struct, frozen=True, kw_only=True, tag="hear"):
    """The payload is a sound file as base64. Answered with `Heard`."""

    n_payload_bytes: int
    sound_format: Literal["wav", "mp3"]
    rate_hz: int
    max_s: float
    path: str
    """Of a file, which is there, for its samples: 32-bit floats, one channel."""


class Heard(msgspec.Struct, frozen=True, kw_only=True, tag="heard"):
    """The file is written."""

    n_samples: int


class BadImage(msgspec.Struct, frozen=True, tag="bad_image"):
    """What is wrong with a picture, and why where that can be said."""

    fault: ImageFault
    reason: str = ""


class Text(msgspec.Struct, frozen=True, tag="text"):
    text: str


class Samples(msgspec.Struct, frozen=True, tag="samples"):
    """16 bit, little-endian, 24 kHz, one channel."""

    data: bytes


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """It is the payload's fault. The reason is a sentence for the client."""

    reason: str


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The worker has started."""


Question = ReadDocument | Speak | EncodeSound | Listen | ReadPicture | SeePicture | HearSound
Answer = Ready | Text | Read | Samples | BadImage | Seen | Heard | Refused
