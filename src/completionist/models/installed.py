"""From what the user names to the model file on this machine."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from completionist.cache import cache_directory
from completionist.errors import OperatorError
from completionist.models.catalog import CatalogEntry, catalog
from completionist.models.gguf import BrokenModelFile, check_gguf
from completionist.settings import Dialect, ModelSettings

LOCAL_PUBLISHER = "local"


class UnknownModel(OperatorError):
    """Neither in the catalogue nor a file."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        close = difflib.get_close_matches(name, known, n=2, cutoff=0.4)
        mean = f"did you mean {' or '.join(close)}?" if close else f"known are {', '.join(known)}"
        super().__init__(f"no model {name}: {mean} (or give the path of a GGUF file)")


class NotPulled(OperatorError):
    """In the catalogue, not on this machine."""

    def __init__(self, entry: CatalogEntry) -> None:
        megabytes = -(-entry.download_bytes // 10**6)
        super().__init__(f"{entry.name} is not here yet: completionist pull {entry.name} ({megabytes} MB)")


class ModelFile(msgspec.Struct, frozen=True, kw_only=True):
    """A model that can be loaded."""

    path: Path
    name: str
    """The name clients use: the catalogue's, or the stem of a file."""
    publisher: str
    sha256: str | None
    """Known for files from the catalogue alone."""
    added_at_s: int
    """When the file came here, Unix seconds."""
    dialect: Dialect | None = None
    """What the catalogue says of it."""


def resolve(name_or_path: str, settings: ModelSettings, entries: Mapping[str, CatalogEntry] | None = None) -> ModelFile:
    """The file behind a catalogue name or a path. Raises `UnknownModel`, `NotPulled`, `BrokenModelFile`."""
    known = catalog() if entries is None else entries
    if entry := known.get(name_or_path):
        return _pulled(entry, settings)
    path = Path(name_or_path).expanduser()
    if not path.is_file():
        raise UnknownModel(name_or_path, tuple(known))
    check_gguf(path)
    return _model_file(path.absolute(), name=path.stem, publisher=LOCAL_PUBLISHER, sha256=None)


def installed(settings: ModelSettings, entries: Mapping[str, CatalogEntry] | None = None) -> tuple[ModelFile, ...]:
    """The catalogue's models that are on this machine, in its order."""
    known = catalog() if entries is None else entries
    return tuple(
        _entry_file(entry, path) for entry in known.values() if (path := model_path(entry, settings)).is_file()
    )


def model_path(entry: CatalogEntry, settings: ModelSettings) -> Path:
    """Where the verified file is, once it is."""
    return cache_directory(settings.cache_dir) / "models" / entry.name / entry.file


def _pulled(entry: CatalogEntry, settings: ModelSettings) -> ModelFile:
    path = model_path(entry, settings)
    if not path.is_file():
        raise NotPulled(entry)
    if path.stat().st_size != entry.size_bytes:
        raise BrokenModelFile(path, f"it has {path.stat().st_size:,} bytes, the published file {entry.size_bytes:,}")
    check_gguf(path)
    return _entry_file(entry, path)


def _entry_file(entry: CatalogEntry, path: Path) -> ModelFile:
    file = _model_file(path, name=entry.name, publisher=entry.publisher, sha256=entry.sha256)
    return msgspec.structs.replace(file, dialect=entry.dialect)


def _model_file(path: Path, *, name: str, publisher: str, sha256: str | None) -> ModelFile:
    return ModelFile(path=path, name=name, publisher=publisher, sha256=sha256, added_at_s=int(path.stat().st_mtime))
