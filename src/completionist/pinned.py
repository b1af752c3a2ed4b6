"""What the catalogue and the native build name: files of packages, pinned by their digests."""

from __future__ import annotations

import msgspec


class PinnedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a package, known before it is fetched."""

    project: str
    """As the index names it, normalised (PEP 503)."""
    name: str
    sha256: str
    size_bytes: int
