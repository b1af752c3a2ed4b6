"""What a model is made of: files that are read out of pinned packages."""

from __future__ import annotations

from pathlib import Path

import msgspec

from completionist.pinned import PinnedFile


class AssetFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file, known before it is here."""

    name: str
    size_bytes: int
    sha256: str
    member: str
    """Pattern of the members of the packages that hold it, in their order."""


class Asset(msgspec.Struct, frozen=True, kw_only=True):
    """Files that belong together."""

    name: str
    files: tuple[AssetFile, ...]
    parts: tuple[PinnedFile, ...]
    """Wheels, or tarballs of npm (`.tgz`)."""

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)

    @property
    def download_bytes(self) -> int:
        return sum(part.size_bytes for part in self.parts)

    @property
    def names(self) -> tuple[str, ...]:
        """Of its files."""
        return tuple(file.name for file in self.files)

    def is_in(self, directory: Path) -> bool:
        """Whether all of it is there. What is there was verified before it got its name."""
        return all((directory / file.name).is_file() for file in self.files)
