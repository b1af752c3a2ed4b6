"""Sound on its way to an encoder: what is longer than some seconds is in a file without a name, not in memory."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator

from completionist.errors import StorageUnavailable

_MEMORY_BYTES = 2**20
_SLICE_BYTES = 2**18


class Spool:
    """Written by an event loop, read by another thread once it is complete.

    It is gone when nobody holds it any more: a thread may still be reading when whoever wrote it has left.
    """

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=_MEMORY_BYTES)  # noqa: SIM115 - see below
        self.n_bytes = 0

    async def add(self, data: bytes) -> None:
        """Raises `StorageUnavailable` where the disk does not take it."""
        try:
            await asyncio.to_thread(self._file.write, data)
        except OSError as error:
            raise StorageUnavailable from error
        self.n_bytes += len(data)

    def slices(self) -> Iterator[bytes]:
        """All of it. Blocks."""
        self._file.seek(0)
        while data := self._file.read(_SLICE_BYTES):
            yield data

    def __del__(self) -> None:
        self._file.close()
