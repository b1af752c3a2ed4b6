"""From what the user names to the model file on this machine."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from completionist.cache import cache_directory
from completionist.errors import OperatorError
from completionist.models.catalog import CatalogEntry, catalog
from completionist.models.gguf import BrokenModelFile, check_gguf
from completionist.models.hub_cache import CachedRepository, cached_repositories
from completionist.models.places import hub_cache
from completionist.models.quantisations import NoModel, NoSuchVariant, PartMissing, Variant, choose, projector, variants
from completionist.models.references import HubReference, hub_reference
from completionist.parts import parts_of
from completionist.settings import Dialect, ModelSettings

LOCAL_PUBLISHER = "local"
_BEGINNINGS_OF_PATHS = ("/", "./", "../", "~")


class UnknownModel(OperatorError):
    """Neither in the catalogue nor a file, nor a reference to the hub."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        close = difflib.get_close_matches(name, known, n=2, cutoff=0.4)
        mean = f"did you mean {' or '.join(close)}?" if close else f"known are {', '.join(known)}"
        super().__init__(f"no model {name}: {mean} (or give the path of a GGUF file, or a hub reference, org/repo)")


class NoModelFile(OperatorError):
    """What is meant for a path is none of a file."""

    def __init__(self, name: str) -> None:
        what = "is a directory: name the GGUF file in it" if Path(name).expanduser().is_dir() else "does not exist"
        super().__init__(f"{name} {what}")


class NotPulled(OperatorError):
    """It can be had, and is not on this machine. `download_bytes`: where that is known."""

    def __init__(self, name: str, download_bytes: int | None = None) -> None:
        size = "" if download_bytes is None else f" ({-(-download_bytes // 10**6)} MB)"
        super().__init__(f"{name} is not here yet: completionist pull {name}{size}")


class ModelFile(msgspec.Struct, frozen=True, kw_only=True):
    """A model that can be loaded."""

    path: Path
    """Of several parts the first."""
    name: str
    """The name clients use: the catalogue's, the reference to the hub, or the stem of a file."""
    publisher: str
    sha256: str | None
    """Known for files from the catalogue, and for those from the hub that are in one part."""
    added_at_s: int
    """When the file came here, Unix seconds."""
    dialect: Dialect | None = None
    """What the catalogue says of it."""
    projector_path: Path | None = None
    """What gives it eyes or ears, where the hub has that beside it."""

    @property
    def size_bytes(self) -> int:
        """Of all parts."""
        return sum(part.stat().st_size for part in parts_of(self.path))


def resolve(name: str, settings: ModelSettings, entries: Mapping[str, CatalogEntry] | None = None) -> ModelFile:
    """The file behind a name of the catalogue, a path or a reference to the hub.

    Raises `UnknownModel`, `NoModelFile`, `BadReference`, `NotPulled`, `AmbiguousVariant`, `BrokenModelFile`. Blocking,
    without network.
    """
    known = catalog() if entries is None else entries
    if entry := known.get(name):
        return _pulled(entry, settings)
    path = Path(name).expanduser()
    if path.is_file():
        check_gguf(path)
        return _model_file(path.absolute(), name=path.stem, publisher=LOCAL_PUBLISHER)
    if name.startswith(_BEGINNINGS_OF_PATHS):
        raise NoModelFile(name)
    if reference := hub_reference(name):
        return resolve_reference(reference)
    raise NoModelFile(name) if path.suffix == ".gguf" or path.is_dir() else UnknownModel(name, tuple(known))


def installed(settings: ModelSettings, entries: Mapping[str, CatalogEntry] | None = None) -> tuple[ModelFile, ...]:
    """The models on this machine that have names: the catalogue's in its order, then those from the hub."""
    known = catalog() if entries is None else entries
    ours = [_entry_file(entry, path) for entry in known.values() if (path := model_path(entry, settings)).is_file()]
    return (*ours, *_cached())


def model_path(entry: CatalogEntry, settings: ModelSettings) -> Path:
    """Where the verified file is, once it is."""
    return cache_directory(settings.cache_dir) / "models" / entry.name / entry.file


def resolve_reference(reference: HubReference) -> ModelFile:
    """What the hub's cache has for `reference`. Raises `NotPulled`, `AmbiguousVariant`, `BrokenModelFile`."""
    model = find_reference(reference)
    repository = CachedRepository(hub_cache(), reference.repository)
    for part in parts_of(model.path):
        repository.checked(part)
    check_gguf(model.path)
    return model


def find_reference(reference: HubReference) -> ModelFile:
    """The same, whole or broken. Raises `NotPulled`, `AmbiguousVariant`."""
    repository = CachedRepository(hub_cache(), reference.repository)
    files = repository.files(reference.revision)
    known = variants(files)
    try:
        variant = choose(reference.repository, known, label=reference.quantisation, file=reference.file)
    except (NoModel, NoSuchVariant, PartMissing):
        raise NotPulled(reference.text) from None
    return _cached_file(repository, reference.revision, variant, known)


def _cached() -> Iterator[ModelFile]:
    for repository in cached_repositories(hub_cache()):
        for revision in repository.revisions():
            known = variants(repository.files(revision))
            for variant in known:
                if variant.is_whole:
                    yield _cached_file(repository, revision, variant, known)


def _cached_file(repository: CachedRepository, revision: str, variant: Variant, known: Sequence[Variant]) -> ModelFile:
    commit = repository.commit_of(revision) or revision
    file = _model_file(
        repository.pointer(commit, variant.first),
        name=reference_of(repository.repository, revision, variant, known).text,
        publisher=repository.repository.partition("/")[0],
        sha256=(variant.files[0].sha256 or None) if variant.n_files == 1 else None,
    )
    beside = projector(repository.files(revision))
    return msgspec.structs.replace(file, projector_path=repository.pointer(commit, beside.path) if beside else None)


def reference_of(repository: str, revision: str, variant: Variant, known: Sequence[Variant]) -> HubReference:
    """The shortest that names this one and no other."""
    same = [other for other in known if other.label == variant.label]
    if variant.label and len(same) == 1:
        return HubReference(repository=repository, revision=revision, quantisation=variant.label)
    return HubReference(repository=repository, revision=revision, file=variant.first)


def _pulled(entry: CatalogEntry, settings: ModelSettings) -> ModelFile:
    path = model_path(entry, settings)
    if not path.is_file():
        raise NotPulled(entry.name, entry.size_bytes)
    if path.is_symlink():
        raise BrokenModelFile(path, "it is a link out of the model directory")
    if path.stat().st_size != entry.size_bytes:
        raise BrokenModelFile(path, f"it has {path.stat().st_size:,} bytes, the published file {entry.size_bytes:,}")
    check_gguf(path)
    return _entry_file(entry, path)


def _entry_file(entry: CatalogEntry, path: Path) -> ModelFile:
    file = _model_file(path, name=entry.name, publisher=entry.publisher, sha256=entry.sha256)
    return msgspec.structs.replace(file, dialect=entry.dialect)


def _model_file(path: Path, *, name: str, publisher: str, sha256: str | None = None) -> ModelFile:
    return ModelFile(path=path, name=name, publisher=publisher, sha256=sha256, added_at_s=int(path.stat().st_mtime))
