"""Uploaded files: their contents in a directory, their rows in the database, and the order in which both change.

    upload   content written → synchronised → under its name → row committed → lock released
    delete   row deleted → content removed

What stops half-way leaves a content without a row, which nobody can see, and which the sweep removes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from functools import partial
from typing import Protocol, TypeVar

import msgspec

from completionist import ids
from completionist.errors import ContentLost, FileStorageFull, FileTooLarge, StorageUnavailable
from completionist.log import emit
from completionist.settings import FileSettings
from completionist.store.base import Page, Slice
from completionist.store.chores import survived
from completionist.store.directory import ContentReader, ContentWriter, FileDirectory

T = TypeVar("T")

_logger = logging.getLogger(__name__)

_N_THREADS = 4
_WRITE_BYTES = 2**20
_READ_BYTES = 2**18
_SWEEP_S = 60.0
_ORPHAN_SWEEP_S = 3600.0
_DAY_S = 86_400
_BATCH_FILES_EXPIRE_S = 30 * _DAY_S


class StoredFile(msgspec.Struct, frozen=True, kw_only=True):
    """An uploaded file but for its content."""

    project: str
    id: str
    purpose: str
    filename: str
    """As the client named it: data, never a path."""
    n_bytes: int
    sha256: str
    created_at: int
    expires_at: int | None


class FileRows(Protocol):
    """Which files there are. Every method raises `StorageUnavailable`; after that nobody knows whether an `add` happened."""

    async def check(self) -> None:
        """Raises where an `add` would fail; costs nothing while the last write did not."""
        ...

    async def add(self, file: StoredFile, *, max_project_bytes: int) -> None:
        """Raises `ProjectStorageFull` where the files of the project would take more together."""
        ...

    async def get(self, project: str, id_: str) -> StoredFile:
        """Raises `FileNotFound`."""
        ...

    async def list(self, project: str, purpose: str | None, page: Page) -> Slice[StoredFile]:
        """By creation, ties by insertion. What was deleted keeps its place as `page.after`. Raises `UnknownCursor`."""
        ...

    async def delete(self, project: str, id_: str) -> None:
        """Raises `FileNotFound`."""
        ...

    async def remove_expired(self) -> tuple[str, ...]:
        """Delete a batch of what has expired, and say what; empty where there was nothing."""
        ...

    async def known(self, names: Iterable[str]) -> frozenset[str]:
        """Which of these ids are files of any project, expired ones too."""
        ...

    async def owner(self) -> str:
        """The name of this database, the same for ever."""
        ...


class UploadTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What the client says about a file."""

    purpose: str
    filename: str
    expires_after_s: int | None


class Files:
    """The files of all projects. `start` it when its database is open, and `close` it before that is."""

    def __init__(self, rows: FileRows, directory: FileDirectory, settings: FileSettings) -> None:
        self._rows = rows
        self._directory = directory
        self._settings = settings
        self._threads = ThreadPoolExecutor(_N_THREADS, "files")
        self._sweeping: asyncio.Task[None] | None = None
        self._commits: set[asyncio.Task[StoredFile]] = set()
        self._orphans_due_s = 0.0

    def start(self) -> None:
        self._sweeping = asyncio.create_task(self._sweep_for_ever())

    async def close(self) -> None:
        """Uploads that are being committed are finished."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)
        await asyncio.gather(*self._commits, return_exceptions=True)
        await asyncio.to_thread(self._threads.shutdown)

    @asynccontextmanager
    async def upload(self, project: str) -> AsyncIterator[Upload]:
        """A file on its way; unless it is committed in the context, nothing of it stays.

        Raises `StorageUnavailable` where there is no place for its row.
        """
        await self._rows.check()
        upload = Upload(self, project, self._directory, self._settings.max_file_bytes)
        try:
            yield upload
        finally:
            await upload.close()

    async def get(self, project: str, id_: str) -> StoredFile:
        """Raises `FileNotFound`, `StorageUnavailable`."""
        return await self._rows.get(project, id_)

    async def list(self, project: str, purpose: str | None, page: Page) -> Slice[StoredFile]:
        """By creation, ties by insertion. Raises `UnknownCursor`, `StorageUnavailable`."""
        return await self._rows.list(project, purpose, page)

    async def delete(self, project: str, id_: str) -> None:
        """Raises `FileNotFound`, `StorageUnavailable`."""
        await self._rows.delete(project, id_)
        await self._remove_contents(id_)

    @asynccontextmanager
    async def content(self, file: StoredFile) -> AsyncIterator[AsyncIterator[bytes]]:
        """The content in parts, also where the file is deleted meanwhile. Raises `FileNotFound`, `StorageUnavailable`."""
        reader = self._directory.reader(file.id)
        try:
            if not await self.on_thread(reader.open):
                await self._rows.get(file.project, file.id)  # it may have been deleted just now
                raise ContentLost(file.id)
            yield self._parts(reader)
        finally:
            await self.on_thread(reader.close)

    async def sweep(self) -> None:
        """Remove what has expired. Raises `StorageUnavailable`."""
        while expired := await self._rows.remove_expired():
            await self._remove_contents(*expired)

    async def sweep_orphans(self) -> None:
        """Remove contents that no row names and nobody is writing. Raises `StorageUnavailable`.

        In the directory of another database all of them would look like that: it is left alone.
        """
        owner = await self._rows.owner()
        if not await self.on_thread(partial(self._directory.is_owned_by, owner)):
            emit(_logger, logging.ERROR, "the directory of files belongs to another database: nothing is swept")
            return
        for shard in await self.on_thread(self._directory.shards):
            await self.on_thread(partial(self._directory.remove_parts, shard))
            contents = await self.on_thread(partial(self._directory.contents, shard))
            for suspect in set(contents) - await self._rows.known(contents):
                await self._remove_orphan(suspect)

    async def on_thread(self, work: Callable[[], T]) -> T:
        """Disk work, done also where nobody waits for it any more. A full or broken disk is logged."""
        try:
            return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._threads, work))
        except (FileStorageFull, StorageUnavailable) as error:
            emit(_logger, logging.ERROR, "file storage fails", reason=str(error.__cause__ or "the reserve is reached"))
            raise

    async def commit(self, file: StoredFile, content: ContentWriter) -> StoredFile:
        """Make it a file, to the end even where the caller is cancelled. `content` is in no one else's hands any more."""
        task = asyncio.create_task(self._commit(file, content))
        self._commits.add(task)
        task.add_done_callback(self._commits.discard)
        return await asyncio.shield(task)

    async def _commit(self, file: StoredFile, content: ContentWriter) -> StoredFile:
        is_sure = True
        try:
            await self.on_thread(content.publish)
            is_sure = False
            await self._rows.add(file, max_project_bytes=self._settings.max_project_bytes)
        except BaseException as error:
            if is_sure or not isinstance(error, StorageUnavailable):
                await self.on_thread(content.discard)
            else:  # the row may be there all the same; if it is not, the sweep removes the content
                self._expect_orphans()
            raise
        finally:
            content.release()
        return file

    async def _parts(self, reader: ContentReader) -> AsyncIterator[bytes]:
        while part := await self.on_thread(partial(reader.read, _READ_BYTES)):
            yield part

    async def _remove_contents(self, *names: str) -> None:
        for id_ in names:
            try:
                await self.on_thread(partial(self._directory.remove, id_))
            except StorageUnavailable:  # it is an orphan now
                self._expect_orphans()

    async def _remove_orphan(self, suspect: str) -> None:
        """What nobody holds is looked up once more: its row may have come just before its lock went."""
        if (hold := await self.on_thread(partial(self._directory.hold, suspect))) is not None:
            with closing(hold):
                if not await self._rows.known([suspect]):
                    await self.on_thread(partial(self._directory.remove, suspect))

    async def _sweep_for_ever(self) -> None:
        while True:
            with survived(_logger, "sweep of files"):
                await self.sweep()
                if self._now_s() >= self._orphans_due_s:
                    await self._sweep_orphans_in_time()
            await asyncio.sleep(_SWEEP_S)

    async def _sweep_orphans_in_time(self) -> None:
        self._orphans_due_s = self._now_s() + _ORPHAN_SWEEP_S
        try:
            await self.sweep_orphans()
        except StorageUnavailable:
            self._expect_orphans()
            raise

    def _expect_orphans(self) -> None:
        """There may be some now: to be looked for soon, and not before a row that is on its way has had time to come."""
        self._orphans_due_s = min(self._orphans_due_s, self._now_s() + _SWEEP_S)

    def _now_s(self) -> float:
        return asyncio.get_running_loop().time()


class Upload:
    """One file on its way: `write` …, then `commit`."""

    def __init__(self, files: Files, project: str, directory: FileDirectory, max_bytes: int) -> None:
        self._files = files
        self._project = project
        self._max_bytes = max_bytes
        self._id = ids.file_id()
        self._content = directory.writer(self._id)
        self._waiting = bytearray()
        self._is_committed = False
        self.n_bytes = 0

    async def write(self, data: bytes) -> None:
        """Raises `FileTooLarge`, `FileStorageFull`, `StorageUnavailable`."""
        self.n_bytes += len(data)
        if self.n_bytes > self._max_bytes:
            raise FileTooLarge(self._max_bytes)
        self._waiting += data
        if len(self._waiting) >= _WRITE_BYTES:
            await self._flush()

    async def commit(self, terms: UploadTerms) -> StoredFile:
        """Raises `ProjectStorageFull`, `FileStorageFull`, `StorageUnavailable`."""
        await self._flush()
        file = self._file(terms, ids.now_s())
        self._is_committed = True  # from here on the commit owns the content
        return await self._files.commit(file, self._content)

    async def close(self) -> None:
        """Discard what was not committed."""
        if not self._is_committed:
            await self._files.on_thread(self._content.discard)

    async def _flush(self) -> None:
        data, self._waiting = bytes(self._waiting), bytearray()
        await self._files.on_thread(partial(self._content.write, data))

    def _file(self, terms: UploadTerms, now_s: int) -> StoredFile:
        expires_after_s = terms.expires_after_s or (_BATCH_FILES_EXPIRE_S if terms.purpose == "batch" else None)
        return StoredFile(
            project=self._project,
            id=self._id,
            purpose=terms.purpose,
            filename=terms.filename,
            n_bytes=self.n_bytes,
            sha256=self._content.sha256,
            created_at=now_s,
            expires_at=None if expires_after_s is None else now_s + expires_after_s,
        )
