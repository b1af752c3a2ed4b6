"""Where the contents of files lie: a directory of immutable files under names of our own.

    DIRECTORY/8F/file-8FqBt3kWm0ZxY1nVd5LrQa         a whole content
    DIRECTORY/8F/file-8FqBt3kWm0ZxY1nVd5LrQa.part    one that is being written
    DIRECTORY/database                               the name of the database whose directory it is

A file exists where the database says so. Its content is whole, under its name and out on the disk before the row is
written, and goes after the row; so a crash leaves contents without a row at most, never a row without its content.
Who writes a content holds a lock on it until the row is committed: what has neither a row nor a lock is an orphan, also
where several servers share the directory.

Everything here blocks. Names come from `ids`, never from a client.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from completionist import ids
from completionist.errors import FileStorageFull, StorageUnavailable

_PART = ".part"
_OWNER = "database"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class FileDirectory:
    """The contents under one directory. Its methods raise `StorageUnavailable`."""

    def __init__(self, path: Path, *, reserve_bytes: int = 0) -> None:
        """`reserve_bytes`: what stays free on its disk, which may be the database's too."""
        self.path = path
        self._reserve_bytes = reserve_bytes

    def is_owned_by(self, owner: str) -> bool:
        """Whether the directory belongs to `owner`, or to nobody: then it is theirs from now on."""
        mark = self.path / _OWNER
        with _translated():
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            with suppress(FileNotFoundError):
                if name := mark.read_text():
                    return name == owner
            mark.write_text(owner)
            return True

    def writer(self, id_: str) -> ContentWriter:
        """For a new content. Touches nothing yet."""
        return ContentWriter(self._path_of(id_), self._reserve_bytes)

    def reader(self, id_: str) -> ContentReader:
        """For a whole content. Touches nothing yet."""
        return ContentReader(self._path_of(id_))

    def remove(self, id_: str) -> None:
        """Idempotent."""
        with _translated():
            self._path_of(id_).unlink(missing_ok=True)

    def size_bytes(self, id_: str) -> int | None:
        """Of a whole content; None where there is none."""
        with _translated(), suppress(FileNotFoundError):
            return self._path_of(id_).stat().st_size
        return None

    def sha256(self, id_: str) -> str:
        """Of a content that is there, in hexadecimal."""
        with _translated(), self._path_of(id_).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def copy_to(self, other: FileDirectory, id_: str) -> bool:
        """Put a content into another directory, which does not have it yet; False where there is none."""
        target = other._path_of(id_)
        part = target.with_name(target.name + _PART)
        with _translated(), suppress(FileNotFoundError):
            content = self._path_of(id_).open("rb")
            with content:
                target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                with part.open("wb") as file:
                    part.chmod(0o600)
                    shutil.copyfileobj(content, file)
                    os.fsync(file.fileno())
                part.rename(target)
            return True
        return False

    def shards(self) -> Sequence[Path]:
        """Its parts, of which each holds some of the contents."""
        with _translated():
            return [path for path in self.path.glob("??") if path.is_dir()]

    def contents(self, shard: Path) -> Sequence[str]:
        """The ids of the whole contents in one part."""
        with _translated():
            return [path.name for path in shard.iterdir() if ids.is_file_id(path.name)]

    def remove_parts(self, shard: Path) -> None:
        """Remove the halves that nobody is writing any more."""
        with _translated():
            for path in shard.glob(f"file-*{_PART}"):
                if (hold := _hold(path)) is not None:
                    path.unlink(missing_ok=True)
                    hold.close()

    def hold(self, id_: str) -> FileIO | None:
        """A lock on a content that nobody is writing, to be closed; None where somebody is, or where there is none."""
        with _translated():
            return _hold(self._path_of(id_))

    def _path_of(self, id_: str) -> Path:
        unique = id_.removeprefix("file-")
        return self.path / unique[:2] / id_


class ContentWriter:
    """One content on its way: `write` …, `publish`, then `release` once its row is there; or `discard`."""

    def __init__(self, path: Path, reserve_bytes: int) -> None:
        self._path = path
        self._part = path.with_name(path.name + _PART)
        self._reserve_bytes = reserve_bytes
        self._digest = hashlib.sha256()
        self._fd: int | None = None
        self._is_over = False
        self._lock = threading.Lock()
        """Who gave up may discard while a write still runs, or waits for its thread."""

    @property
    def sha256(self) -> str:
        """Of what was written so far, in hexadecimal."""
        return self._digest.hexdigest()

    def write(self, data: bytes) -> None:
        """Raises `FileStorageFull`, `StorageUnavailable`."""
        with self._lock, _translated():
            if self._is_over:
                return
            fd = self._open()
            disk = os.fstatvfs(fd)
            if disk.f_bavail * disk.f_frsize < self._reserve_bytes + len(data):
                raise FileStorageFull
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(fd, rest) :]
            self._digest.update(data)

    def publish(self) -> None:
        """Out to the disk and under its name, still locked. Raises `FileStorageFull`, `StorageUnavailable`."""
        with self._lock, _translated():
            os.fsync(self._open())
            self._part.rename(self._path)
            _sync(self._path.parent)
            _sync(self._path.parent.parent)

    def release(self) -> None:
        """Leave it as it is. Idempotent."""
        with self._lock:
            self._close()

    def discard(self) -> None:
        """Leave nothing. Idempotent."""
        with self._lock:
            if self._fd is not None:
                with suppress(OSError):  # what cannot be removed now is an orphan, and goes later
                    self._part.unlink(missing_ok=True)
                    self._path.unlink(missing_ok=True)
            self._close()

    def _open(self) -> int:
        if self._fd is None:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fd = _created(self._part)
        return self._fd

    def _close(self) -> None:
        self._is_over = True
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


class ContentReader:
    """One whole content: `open`, `read` …, `close`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: FileIO | None = None
        self._is_over = False
        self._lock = threading.Lock()
        """As in `ContentWriter`: a descriptor that is closed under a read may be another file's by then."""

    def open(self) -> bool:
        """Whether it is there. Raises `StorageUnavailable`."""
        with self._lock, _translated(), suppress(FileNotFoundError):
            if not self._is_over:
                self._file = FileIO(self._path)
        return self._file is not None

    def read(self, n_bytes: int) -> bytes:
        """The next bytes, none at the end. Raises `StorageUnavailable`."""
        with self._lock, _translated():
            return self._file.read(n_bytes) if self._file is not None and not self._is_over else b""

    def close(self) -> None:
        """Idempotent."""
        with self._lock:
            self._is_over = True
            if self._file is not None:
                self._file.close()


def _created(path: Path) -> int:
    """A new file, locked. Between the two steps a sweep may have taken it for an orphan: then once more."""
    while True:
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)
        if os.fstat(fd).st_nlink:
            return fd
        os.close(fd)


def _hold(path: Path) -> FileIO | None:
    try:
        file = FileIO(path)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def _sync(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise FileStorageFull from error
        raise StorageUnavailable from error
