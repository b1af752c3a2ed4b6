"""The models that recognise speech, as `hearing.toml` beside this file lists them, and where the chosen one is."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType

import msgspec

from completionist.cache import cache_directory
from completionist.models.assets import Asset, AssetFile
from completionist.pinned import PinnedFile
from completionist.settings import Settings


class HearingModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What listens."""

    name: str
    description: str
    publisher: str
    licence: str
    files: tuple[AssetFile, ...]
    parts: tuple[PinnedFile, ...]

    @property
    def asset(self) -> Asset:
        return Asset(name=self.name, files=self.files, parts=self.parts)


@cache
def hearing_models() -> Mapping[str, HearingModel]:
    """All of them by name."""
    text = resources.files(__package__).joinpath("hearing.toml").read_text(encoding="utf-8")
    return MappingProxyType(
        {name: msgspec.convert({"name": name, **table}, HearingModel) for name, table in tomllib.loads(text).items()}
    )


def hearing_directory(settings: Settings) -> Path:
    """Where the files of the chosen model are, or would be."""
    if settings.hearing.directory is not None:
        return settings.hearing.directory.expanduser()
    return cache_directory(settings.models.cache_dir) / "hearing" / settings.hearing.model
