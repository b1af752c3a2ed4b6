"""A directory of a process's own for files that it needs for a while.

    TMPDIR/completionist-media-4f0c…      locked by who made it

A process that is killed cannot clear up, but its lock goes with it: what nobody holds is taken away by the next server that
starts here. Everything here blocks.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import uuid
from contextlib import suppress
from pathlib import Path

_PREFIX = "completionist-media-"
_AS_A_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Scratch:
    """Belongs to one thread."""

    def __init__(self) -> None:
        self.path = Path(tempfile.gettempdir()) / f"{_PREFIX}{uuid.uuid4().hex}"
        self._fd: int | None = None

    def open(self) -> None:
        """Let it be there; nobody else may look into it. Idempotent. Raises `OSError`."""
        while self._fd is None:
            self.path.mkdir(mode=0o700, exist_ok=True)
            with suppress(FileNotFoundError):  # a sweep has taken it between the two steps: then once more
                self._fd = _held(self.path, fcntl.LOCK_EX)

    def close(self) -> None:
        """Take it away with all that is in it. Idempotent."""
        if self._fd is not None:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._fd)
            self._fd = None


def sweep() -> None:
    """Take away what was left by processes that are not there any more."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):  # it is held, or not ours
            fd = _held(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
            os.close(fd)


def _held(path: Path, how: int) -> int:
    """A descriptor of a directory, with its lock. Raises `OSError`: `FileNotFoundError` where it is gone."""
    fd = os.open(path, _AS_A_DIRECTORY)
    try:
        fcntl.flock(fd, how)
        if not os.path.samestat(path.lstat(), os.fstat(fd)):
            raise FileNotFoundError(path)
    except OSError:
        os.close(fd)
        raise
    return fd
