"""Where this machine keeps what was fetched or built for it, and how that place is written to.

<cache>/models/<name>/<file>.gguf
<cache>/native/<version>-<accelerator>-<key>/
"""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from completionist.errors import OperatorError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class DiskFull(OperatorError):
    """What was written stays, and the next run goes on from it. `needed_bytes`: where the need is known."""

    def __init__(self, directory: Path, needed_bytes: int | None = None) -> None:
        need = "" if needed_bytes is None else f" ({-(-needed_bytes // 10**6)} MB are needed)"
        super().__init__(
            f"no space left in {directory}{need}: free some and run the command again (what arrived is kept), "
            "or point models.cache_dir, for what comes from a hub HF_HUB_CACHE, to a larger disk"
        )


class NotWritable(OperatorError):
    def __init__(self, directory: Path, reason: str) -> None:
        super().__init__(f"cannot write to {directory} ({reason}): correct its permissions, or set models.cache_dir")


def cache_directory(configured: Path | None = None) -> Path:
    """`configured`, else `completionist` in the user's cache (XDG base directories; `~/Library/Caches` on macOS)."""
    if configured is not None:
        return configured.expanduser()
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "completionist"
    home = Path.home()
    return (home / "Library" / "Caches" if sys.platform == "darwin" else home / ".cache") / "completionist"


@contextmanager
def writing(directory: Path) -> Iterator[None]:
    """Make `directory` and turn what the disk refuses inside the block into `DiskFull` or `NotWritable`."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFull(directory) from None
        raise NotWritable(directory, error.strerror or str(error)) from None


@contextmanager
def exclusive(path: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold the lock file at `path`; `on_wait` is called first where another process holds it. The kernel frees it at death."""
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
