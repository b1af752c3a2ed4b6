"""SHA-256 of model files, kept beside the file's path, size and time of change, so that a start does not read it all."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

import msgspec

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
    record = cache_dir / "digests" / f"{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:32]}.json"
    known = _read(record)
    if known and (known.path, known.size_bytes, known.changed_ns) == (str(path), stat.st_size, stat.st_mtime_ns):
        return known.sha256
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    _write(record, _Known(str(path), stat.st_size, stat.st_mtime_ns, digest))
    return digest


def _read(record: Path) -> _Known | None:
    try:
        return msgspec.json.decode(record.read_bytes(), type=_Known)
    except (OSError, msgspec.DecodeError):
        return None


def _write(record: Path, known: _Known) -> None:
    """Keeping it is a convenience: a full disk or a read-only cache costs time at the next start, nothing else."""
    partial = record.with_suffix(f".{os.getpid()}")
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(msgspec.json.encode(known))
        partial.replace(record)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()
