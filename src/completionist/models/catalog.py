"""The models that can be pulled by name, as `catalog.toml` beside this file lists them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType

import msgspec

from completionist.models.assets import Asset, AssetFile
from completionist.models.fit import Shape
from completionist.pinned import PinnedFile
from completionist.settings import Dialect


class HubSource(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the hub has the file."""

    repository: str
    revision: str = "main"
    file: str


class CatalogEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model: what it is, where the hub has it, and which pinned packages carry the same file."""

    name: str
    """What clients and commands call it."""
    description: str
    publisher: str
    licence: str
    """SPDX identifier."""
    file: str
    size_bytes: int
    sha256: str
    context_tokens: int
    """What it was trained for."""
    kv_bytes_per_token: int
    """Memory of a token of a conversation, with cells of 16 bits."""
    head_count: int
    vocabulary_size: int
    hub: HubSource | None = None
    dialect: Dialect | None = None
    """How it does best with tools, where its own template does not show it."""
    member: str
    """Pattern of the one member of each part's archive that holds data."""
    parts: tuple[PinnedFile, ...]

    @property
    def shape(self) -> Shape:
        """What the memory of a conversation depends on."""
        return Shape(
            kv_bytes_per_token=self.kv_bytes_per_token,
            head_count=self.head_count,
            vocabulary_size=self.vocabulary_size,
            context_tokens=self.context_tokens,
        )

    @property
    def download_bytes(self) -> int:
        """Of the packages; the hub's file has `size_bytes`."""
        return self.asset.download_bytes

    @property
    def asset(self) -> Asset:
        file = AssetFile(name=self.file, size_bytes=self.size_bytes, sha256=self.sha256, member=self.member)
        return Asset(name=self.name, files=(file,), parts=self.parts)


@cache
def catalog() -> Mapping[str, CatalogEntry]:
    """All entries by name, in the order of the file: the smallest first."""
    text = resources.files(__package__).joinpath("catalog.toml").read_text(encoding="utf-8")
    entries = {
        name: msgspec.convert({"name": name, **table}, CatalogEntry) for name, table in tomllib.loads(text).items()
    }
    return MappingProxyType(entries)
