"""The hub's files on this machine, in the layout that every program of its kind shares.

models--org--repo/refs/main                  the commit that a branch or tag was at
models--org--repo/snapshots/<commit>/<path>  a link to
models--org--repo/blobs/<sha256>             the bytes
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from completionist.models.gguf import BrokenModelFile
from completionist.models.quantisations import RemoteFile
from completionist.models.references import MAIN, is_safe_path

_DIRECTORY = re.compile(r"models--(?P<org>[A-Za-z0-9._-]+?)--(?P<name>[A-Za-z0-9._-]+)")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class CachedRepository:
    """One repository in the cache at `cache`; nothing of it need be there."""

    def __init__(self, cache: Path, repository: str) -> None:
        self.repository = repository
        self._cache = cache
        self.directory = cache / f"models--{repository.replace('/', '--')}"

    def commit_of(self, revision: str) -> str | None:
        """What a branch or tag was at when something of it was fetched; a commit is itself."""
        if _COMMIT.fullmatch(revision):
            return revision
        try:
            commit = (self.directory / "refs" / revision).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            return None
        return commit if _COMMIT.fullmatch(commit) else None

    def revisions(self) -> list[str]:
        """Names whose commit is known, `main` first, then commits that have no name."""
        refs = self.directory / "refs"
        names = sorted(str(path.relative_to(refs)) for path in refs.rglob("*") if path.is_file())
        named = {self.commit_of(name) for name in names}
        commits = sorted(path.name for path in (self.directory / "snapshots").glob("*") if path.name not in named)
        return sorted(names, key=lambda name: name != MAIN) + commits

    def files(self, revision: str) -> list[RemoteFile]:
        """The GGUF files of a revision that are here."""
        commit = self.commit_of(revision)
        if commit is None:
            return []
        snapshot = self.directory / "snapshots" / commit
        return [self._file(snapshot, path) for path in sorted(snapshot.rglob("*.gguf")) if path.is_file()]

    def _file(self, snapshot: Path, pointer: Path) -> RemoteFile:
        return RemoteFile(
            path=pointer.relative_to(snapshot).as_posix(),
            size_bytes=pointer.stat().st_size,
            sha256=name if _SHA256.fullmatch(name := pointer.resolve().name) else "",
        )

    def pointer(self, commit: str, path: str) -> Path:
        """Where a file of a commit is, or will be."""
        if not is_safe_path(path):
            raise ValueError(f"{path} leads out of the repository")
        return self.directory / "snapshots" / commit / path

    def checked(self, pointer: Path) -> Path:
        """`pointer`, unless it is a link out of the cache. Raises `BrokenModelFile`."""
        if not pointer.resolve().is_relative_to(self._cache.resolve()):
            raise BrokenModelFile(pointer, "it is a link out of the model directory")
        return pointer

    def blob(self, sha256: str) -> Path:
        return self.directory / "blobs" / sha256

    def lock(self, sha256: str) -> Path:
        """Where processes that fetch a blob agree who does."""
        return self._cache / ".locks" / self.directory.name / f"{sha256}.lock"

    def publish(self, revision: str, commit: str, file: RemoteFile) -> Path:
        """Make a verified blob a file of its commit."""
        pointer = self.pointer(commit, file.path)
        pointer.parent.mkdir(parents=True, exist_ok=True)
        fresh = pointer.with_name(f"{pointer.name}.{os.getpid()}")
        fresh.symlink_to(os.path.relpath(self.blob(file.sha256), pointer.parent))
        fresh.replace(pointer)
        if revision != commit:
            reference = self.directory / "refs" / revision
            reference.parent.mkdir(parents=True, exist_ok=True)
            reference.write_text(commit, encoding="ascii")
        return pointer

    def remove(self, commit: str, paths: tuple[str, ...]) -> int:
        """Take files of a commit away, and their bytes where no other commit has them. Returns the bytes that are free."""
        freed = 0
        for path in paths:
            pointer = self.pointer(commit, path)
            target = pointer.resolve()
            pointer.unlink()
            if target.parent == self.directory.resolve() / "blobs" and not self._is_used(target):
                freed += target.stat().st_size
                target.unlink()
        return freed

    def _is_used(self, blob: Path) -> bool:
        snapshots = self.directory / "snapshots"
        return any(path.is_symlink() and path.resolve() == blob for path in snapshots.rglob("*"))


def cached_repositories(cache: Path) -> Iterator[CachedRepository]:
    """All of a cache, by name."""
    for directory in sorted(cache.glob("models--*--*")):
        if found := _DIRECTORY.fullmatch(directory.name):
            yield CachedRepository(cache, f"{found['org']}/{found['name']}")
