"""Content parts of messages (contract, section 3.2). Media stay as they were sent; here only their form is checked."""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from completionist.errors import MissingParameter
from completionist.types.readers import (
    FREE_TEXT,
    TEXT,
    Object,
    OneOf,
    Reader,
    Tagged,
    Text,
    Value,
    ignored,
    optional,
    required,
)
from completionist.types.refusals import InvalidAudioData, InvalidDataURL, InvalidImageURL, MutuallyExclusive


class PromptCacheBreakpoint(msgspec.Struct, frozen=True, kw_only=True):
    """The prompt up to the end of this part is worth keeping (section 8.2)."""

    mode: Literal["explicit"]
    ttl: Literal["30m", "12h"] | None = None


class TextPart(msgspec.Struct, frozen=True, kw_only=True):
    type: Literal["text"] = "text"
    text: str
    prompt_cache_breakpoint: PromptCacheBreakpoint | None = None


class HeardPart(TextPart, frozen=True, kw_only=True):
    """The words of an audio part, for a model that does not hear. Never on the wire."""


class Pixels(msgspec.Struct, frozen=True, kw_only=True):
    """A decoded picture in a file: three bytes a pixel, row by row."""

    path: str
    width: int
    height: int


class Samples(msgspec.Struct, frozen=True, kw_only=True):
    """A decoded sound in a file: 32-bit floats, one channel, at the rate that was asked for."""

    path: str
    n_samples: int


class PerceivedPart(TextPart, frozen=True, kw_only=True):
    """A decoded picture or sound, for a model that perceives it itself. Its text is what marks its place. Never on the wire."""

    text: str = ""
    medium: Pixels | Samples
    data: Base64 | None = None
    """A picture as it came, where it is to be judged."""


class PictureTextPart(TextPart, frozen=True, kw_only=True):
    """The text in a picture, for a model that does not see. Never on the wire."""


Detail = Literal["auto", "low", "high", "original"]


class ImageURL(msgspec.Struct, frozen=True, kw_only=True):
    """`url` is http(s), or a data URL of a PNG, JPEG, WebP or GIF whose base64 is sound."""

    url: str
    detail: Detail | None = None


class ImagePart(msgspec.Struct, frozen=True, kw_only=True):
    type: Literal["image_url"] = "image_url"
    image_url: ImageURL
    prompt_cache_breakpoint: PromptCacheBreakpoint | None = None


class InputAudio(msgspec.Struct, frozen=True, kw_only=True):
    """`data` is sound base64."""

    data: str
    format: Literal["wav", "mp3"]


class AudioPart(msgspec.Struct, frozen=True, kw_only=True):
    type: Literal["input_audio"] = "input_audio"
    input_audio: InputAudio
    prompt_cache_breakpoint: PromptCacheBreakpoint | None = None


class FileReference(msgspec.Struct, frozen=True, kw_only=True):
    """Either `file_id`, or `file_data` (a data URL whose base64 is sound) with `filename`."""

    file_id: str | None = None
    file_data: str | None = None
    filename: str | None = None


class FilePart(msgspec.Struct, frozen=True, kw_only=True):
    type: Literal["file"] = "file"
    file: FileReference
    prompt_cache_breakpoint: PromptCacheBreakpoint | None = None


class RefusalPart(msgspec.Struct, frozen=True, kw_only=True):
    type: Literal["refusal"] = "refusal"
    refusal: str
    prompt_cache_breakpoint: PromptCacheBreakpoint | None = None


class Base64(msgspec.Struct, frozen=True):
    """The end of a text. It is never cut out of it: that would copy megabytes on the event loop."""

    text: str
    start: int = 0

    @classmethod
    def of_data_url(cls, url: str) -> Base64:
        return cls(url, url.index(",") + 1)

    def __len__(self) -> int:
        """In characters."""
        return len(self.text) - self.start


Part = TextPart | ImagePart | AudioPart | FilePart | RefusalPart

_IMAGE_TYPES = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif"})
_IMAGE_WANTED = "an image MIME type (e.g. 'data:image/png;base64,aW1nIGJ5dGVzIGhlcmU=')"
FILE_WANTED = "an application/pdf MIME type (e.g. 'data:application/pdf;base64,cGRmIGJ5dGVzIGhlcmU=')"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")


def is_base64(text: str) -> bool:
    """Whether `text` is base64 without blanks, line ends or missing padding."""
    try:
        binascii.a2b_base64(text, strict_mode=True)
    except ValueError:  # binascii.Error, and characters that are not ASCII
        return False
    return len(text) % 4 == 0  # the decoder lets one `=` pass after whole groups


def _scheme(url: str) -> str | None:
    found = _SCHEME.match(url)
    return found[1].lower() if found else None


def _check_data_url(url: str, at: str, *, wanted: str, media_types: frozenset[str] | None) -> None:
    """`media_types` None: any; which kinds of file can be read is known only where they are read."""
    header, _, data = url.partition(",")
    media_type, *parameters = header[len("data:") :].split(";")
    if media_types is not None and media_type.lower() not in media_types:
        shown = media_type if len(media_type) <= 64 else media_type[:64] + "..."
        raise InvalidDataURL(at, wanted, f"unsupported MIME type '{shown}'")
    if not data:
        raise InvalidDataURL(at, wanted, "empty base64-encoded bytes")
    if "base64" not in parameters[-1:] or not is_base64(data):
        raise InvalidDataURL(at, wanted, "an invalid base64-encoded value")


class _ImageAddress(Text):
    """A bare word is taken for picture data whose prefix was forgotten, a foreign scheme for an address."""

    def read(self, value: Value, at: str) -> str:
        url = super().read(value, at)
        match _scheme(url):
            case "http" | "https":
                pass
            case "data":
                _check_data_url(url, at, wanted=_IMAGE_WANTED, media_types=_IMAGE_TYPES)
            case None:
                raise InvalidDataURL(at, _IMAGE_WANTED, "a value without the 'data:' prefix")
            case _:
                raise InvalidImageURL(at, url)
        return url


class _FileData(Text):
    def read(self, value: Value, at: str) -> str:
        url = super().read(value, at)
        if _scheme(url) != "data":
            raise InvalidDataURL(at, FILE_WANTED, "a value without the 'data:' prefix")
        _check_data_url(url, at, wanted=FILE_WANTED, media_types=None)
        return url


class _InputAudio(Object[InputAudio]):
    """The refusal of broken base64 names the format, so it comes when both keys have been read."""

    def read(self, value: Value, at: str) -> InputAudio:
        audio = super().read(value, at)
        if not is_base64(audio.data):
            raise InvalidAudioData(f"{at}.data", audio.format)
        return audio


def _check_file(value: Mapping[str, Any], at: str) -> None:
    if "file_id" in value and "file_data" in value:
        raise MutuallyExclusive(at, "file_id", "file_data")
    if "file_id" not in value and "file_data" not in value:
        raise MissingParameter(f"{at}.file_id")
    if "file_data" in value and "filename" not in value:
        raise MissingParameter(f"{at}.filename")


_TAG = ignored("type")
_BREAKPOINT = optional(
    "prompt_cache_breakpoint",
    Object(PromptCacheBreakpoint, required("mode", OneOf("explicit")), optional("ttl", OneOf("30m", "12h"))),
)
_IMAGE_URL = Object(
    ImageURL,
    required("url", _ImageAddress(None)),
    optional("detail", OneOf("auto", "low", "high", "original")),
)
_INPUT_AUDIO = _InputAudio(InputAudio, required("data", FREE_TEXT), required("format", OneOf("wav", "mp3")))
_FILE = Object(
    FileReference,
    optional("file_id", Text(can_be_empty=False)),
    optional("file_data", _FileData(None)),
    optional("filename", Text(can_be_empty=False)),
    demand=_check_file,
)

TEXT_PART = Object(TextPart, _TAG, required("text", TEXT), _BREAKPOINT)
IMAGE_PART = Object(ImagePart, _TAG, required("image_url", _IMAGE_URL), _BREAKPOINT)
AUDIO_PART = Object(AudioPart, _TAG, required("input_audio", _INPUT_AUDIO), _BREAKPOINT)
FILE_PART = Object(FilePart, _TAG, required("file", _FILE), _BREAKPOINT)
REFUSAL_PART = Object(RefusalPart, _TAG, required("refusal", TEXT), _BREAKPOINT)

PART_TYPES = ("text", "image_url", "input_audio", "refusal", "audio", "file")
"""What the message about a wrong type lists, whatever the role takes."""


def part_of(variants: Mapping[str, Reader[Any]]) -> Tagged[Any]:
    """A reader of the parts that one role takes, by their `type`."""
    return Tagged("type", variants, listed=PART_TYPES)
