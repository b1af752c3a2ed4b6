"""The speech model and its voices, as `speech.toml` beside this file lists them, and where they are on this machine."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path

import msgspec

from completionist.cache import cache_directory
from completionist.models.assets import Asset, AssetFile
from completionist.pinned import PinnedFile
from completionist.settings import Settings

_VECTOR_BYTES = 510 * 256 * 4


class Voice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of the voices that the API names."""

    vector: str
    """The publisher's name of its style."""
    is_british: bool
    gain: float
    """What its samples are multiplied by, so that all voices are equally loud."""
    sha256: str

    @property
    def file(self) -> str:
        return f"{self.vector}.bin"


class _ModelFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    member: str
    size_bytes: int
    sha256: str


class SpeechModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What speaks."""

    name: str
    publisher: str
    licence: str
    parts: tuple[PinnedFile, ...]
    model: _ModelFile
    voices: Mapping[str, Voice]
    """By the API's names."""

    @property
    def asset(self) -> Asset:
        model = AssetFile(
            name=self.model.name, member=self.model.member, size_bytes=self.model.size_bytes, sha256=self.model.sha256
        )
        vectors = (
            AssetFile(
                name=voice.file,
                member=rf"/voices/{voice.vector}\.bin$",
                size_bytes=_VECTOR_BYTES,
                sha256=voice.sha256,
            )
            for voice in self.voices.values()
        )
        return Asset(name=self.name, files=(model, *vectors), parts=self.parts)


@cache
def speech_model() -> SpeechModel:
    """The one there is."""
    text = resources.files(__package__).joinpath("speech.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), SpeechModel)


def speech_directory(settings: Settings) -> Path:
    """Where its files are, or would be."""
    if settings.speech.directory is not None:
        return settings.speech.directory.expanduser()
    return cache_directory(settings.models.cache_dir) / "speech" / speech_model().name
