"""Small findings that are kept from one start to the next, each a JSON file in the cache directory."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import TypeVar

import msgspec

from completionist.engine.llama.library import processor_features
from completionist.engine.llama.quota import processors

T = TypeVar("T")


def record_of(cache_dir: Path, kind: str, model: Path, library: str, *more: str) -> Path:
    """Where something about this model file with the library so described, on this machine, is kept. Raises `OSError` where
    there is no such file."""
    stat = model.stat()
    parts = (model.resolve(), stat.st_size, stat.st_mtime_ns, library, processors(), *processor_features(), *more)
    return cache_dir / kind / f"{digest_of(*map(str, parts))}.json"


def digest_of(*parts: str) -> str:
    """A file's name."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def read(record: Path, kind: type[T]) -> T | None:
    """None where nothing was kept, or it is damaged."""
    try:
        return msgspec.json.decode(record.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError):
        return None


def write(record: Path, value: object) -> None:
    """Replace what was kept. Raises `OSError`."""
    partial = record.with_suffix(f".{os.getpid()}")
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(msgspec.json.encode(value))
        partial.replace(record)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()
