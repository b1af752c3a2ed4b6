"""SHA-256 of model files, kept beside the file's path, size and time of change, so that a start does not read it all."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

import msgspec

from completionist.engine.llama.records import digest_of, read, write
from completionist.parts import parts_of


class _Known(msgspec.Struct, frozen=True):
    path: str
    size_bytes: int
    changed_ns: int
    sha256: str


def model_sha256(path: Path, cache_dir: Path) -> str:
    """Digest of a model; of one in several parts that of their digests. Raises `OSError` where one cannot be read."""
    digests = [file_sha256(part, cache_dir) for part in parts_of(path)]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def file_sha256(path: Path, cache_dir: Path) -> str:
    """Digest of `path`; computed again only if the file changed. Raises `OSError` where the file cannot be read."""
    stat = path.stat()
    record = cache_dir / "digests" / f"{digest_of(str(path.resolve()))}.json"
    known = read(record, _Known)
    if known and (known.path, known.size_bytes, known.changed_ns) == (str(path), stat.st_size, stat.st_mtime_ns):
        return known.sha256
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    with contextlib.suppress(OSError):  # a full disk or a read-only cache costs time at the next start, nothing else
        write(record, _Known(str(path), stat.st_size, stat.st_mtime_ns, digest))
    return digest
