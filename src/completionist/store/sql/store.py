"""The store as the event loop sees it: every call is handed to a thread, and waits for nothing else.

Nothing here imports the database library. It is imported by the thread that opens the database, beside the loading of the
model, so that it costs a start no time of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from completionist.errors import OperatorError, StorageUnavailable
from completionist.log import emit
from completionist.settings import StoreSettings
from completionist.store.base import Attempt, Filters, Item, NewCompletion, Page, Settled, Slice, Transcript
from completionist.store.chores import survived
from completionist.store.sql.place import database_url
from completionist.types.frozen import FrozenMap

if TYPE_CHECKING:
    from completionist.store.sql.state import State

T = TypeVar("T")

_logger = logging.getLogger(__name__)

_MAX_WAIT_S = 10.0
"""For a thread."""
_MAX_CALL_S = 60.0
"""For what a thread has begun. The database has shorter limits of its own, but one that hangs does not keep them."""
_RETRY_S = 1.0
"""Between attempts at a database that was out of order."""
_SWEEP_S = 60.0
_RENEW_S = 10.0
"""A third of what a claim lasts."""
_N_READERS = 4


class SqlStore:
    """`CompletionStore` over a database. `start` it, and `close` it at the end."""

    def __init__(self, settings: StoreSettings) -> None:
        self._settings = settings
        self._url = database_url(settings.url)
        self._state: State | None = None
        self._writers = ThreadPoolExecutor(1 if self._url.startswith("sqlite") else _N_READERS, "store-write")
        self._readers = ThreadPoolExecutor(_N_READERS, "store-read")
        self._opening = asyncio.Lock()
        self._failed_s: float | None = None
        self._pinged_s = -math.inf
        self._chores: list[asyncio.Task[None]] = []
        self._is_closed = False
        self._held: set[int] = set()
        """The attempts that are under way. A claim of this process that is none of theirs was not given back."""

    @property
    def is_available(self) -> bool:
        """Whether the last attempt to write succeeded."""
        return self._state is not None and self._failed_s is None

    async def start(self) -> None:
        """Open the database and bring its schema up to date. One that cannot be reached is tried again whenever it is needed.

        Raises `OperatorError` for one that this program cannot work with.
        """
        try:
            await self._opened()
        except StorageUnavailable as error:
            if isinstance(error.__cause__, OperatorError):
                raise error.__cause__ from None
        if self._is_closed:  # a start that failed elsewhere closes what is still being opened
            return
        self._chores += [asyncio.create_task(self._sweep_for_ever()), asyncio.create_task(self._renew_for_ever())]

    async def close(self) -> None:
        self._is_closed = True
        for chore in self._chores:
            chore.cancel()
        await asyncio.gather(*self._chores, return_exceptions=True)
        await asyncio.to_thread(self._close)

    async def check(self) -> None:
        """Raises `StorageUnavailable` where a write would fail; costs nothing while the last one did not."""
        if not self.is_available:
            await self._opened()
            async with self._opening:
                if self._failed_s is not None:
                    self._refuse_if_just_failed()
                    await self.write(lambda state: state.probe())

    async def ping(self) -> None:
        """Asked often, the database is asked once a second."""
        await self.check()
        if _now_s() - self._pinged_s > _RETRY_S:
            await self.read(lambda state: state.ping())
            self._pinged_s = _now_s()

    async def add(self, new: NewCompletion, settled: Settled | None = None) -> None:
        await self._settling(settled, lambda state: state.add(new, settled))

    async def get(self, project: str, id_: str) -> Item:
        return await self.read(lambda state: state.get(project, id_))

    async def update(
        self, project: str, id_: str, metadata: FrozenMap[str, str], attempt: Attempt | None = None
    ) -> Item:
        item = await self.write(lambda state: state.update(project, id_, metadata, attempt))
        if attempt is not None:
            self._held.discard(attempt.number)
        return item

    async def delete(self, project: str, id_: str, settled: Settled | None = None) -> None:
        await self._settling(settled, lambda state: state.delete(project, id_, settled))

    async def list(self, project: str, filters: Filters, page: Page) -> Slice[Item]:
        return await self.read(lambda state: state.list(project, filters, page))

    async def messages(self, project: str, id_: str, page: Page) -> Slice[Item]:
        return await self.read(lambda state: state.messages(project, id_, page))

    async def keep_transcripts(self, project: str, transcripts: Sequence[Transcript]) -> None:
        await self.write(lambda state: state.keep_transcripts(project, transcripts))

    async def transcript(self, project: str, id_: str) -> str | None:
        return await self.read(lambda state: state.transcript(project, id_))

    async def claim(self, attempt: Attempt) -> bytes | None:
        self._held.add(attempt.number)  # before anybody can see the claim
        is_held = False
        try:
            replay = await self.write(lambda state: state.claim(attempt, self._held))
            is_held = replay is None
        finally:
            if not is_held:
                self._held.discard(attempt.number)
        return replay

    async def settle(self, settled: Settled) -> None:
        await self._settling(settled, lambda state: state.settle(settled))

    async def release(self, attempt: Attempt) -> None:
        self._held.discard(attempt.number)
        with contextlib.suppress(StorageUnavailable):  # then the next attempt finds that nobody holds it
            await self.write(lambda state: state.release(attempt))

    async def read(self, work: Callable[[State], T]) -> T:
        """Run `work` on a thread. Raises `StorageUnavailable`."""
        state = await self._opened()
        return await self._judged(_on(self._readers, lambda: work(state)))

    async def write(self, work: Callable[[State], T]) -> T:
        """Run `work`, which changes something, on a thread. Raises `StorageUnavailable`."""
        state = await self._opened()
        result = await self._judged(_on(self._writers, lambda: work(state)))
        self._heal()
        return result

    async def _settling(self, settled: Settled | None, work: Callable[[State], None]) -> None:
        await self.write(work)
        if settled is not None:
            self._held.discard(settled.attempt.number)

    async def _opened(self) -> State:
        if self._state is None:
            async with self._opening:
                if self._state is None:
                    self._refuse_if_just_failed()
                    self._state = await self._judged(_on(self._writers, self._open))
                    self._heal()
        return self._state

    def _open(self) -> State:
        from completionist.store.sql.state import State  # noqa: PLC0415 (see the top)

        try:
            return State(self._url, self._settings)
        except OperatorError as error:  # a database that came after the start, say: requests cannot mend it
            raise StorageUnavailable from error

    def _refuse_if_just_failed(self) -> None:
        if self._failed_s is not None and _now_s() - self._failed_s < _RETRY_S:
            raise StorageUnavailable(retry_after_s=_RETRY_S)

    async def _judged(self, work: Awaitable[T]) -> T:
        try:
            return await work
        except StorageUnavailable as error:
            if self._failed_s is None:
                reason = str(getattr(error.__cause__, "orig", None) or error.__cause__)
                emit(_logger, logging.ERROR, "storage unavailable", reason=reason)
            self._failed_s = _now_s()
            raise

    def _heal(self) -> None:
        if self._failed_s is not None:
            emit(_logger, logging.WARNING, "storage available again")
        self._failed_s = None

    async def _sweep_for_ever(self) -> None:
        while True:
            has_more = False
            with survived(_logger, "sweep"):
                has_more = await self.sweep()
            await asyncio.sleep(0 if has_more else _SWEEP_S)  # others write between two batches

    async def sweep(self) -> bool:
        """Remove a batch of what has expired; whether there may be more. Raises `StorageUnavailable`."""
        return await self.write(lambda state: state.sweep())

    async def _renew_for_ever(self) -> None:
        while True:
            await asyncio.sleep(_RENEW_S)
            if self._held:
                with survived(_logger, "renewal of claims"):
                    await self.renew()

    async def renew(self) -> None:
        """Keep the claims of the attempts that are under way. Raises `StorageUnavailable`."""
        held = frozenset(self._held)
        await self.write(lambda state: state.renew(held))

    def _close(self) -> None:
        self._writers.shutdown(wait=True, cancel_futures=True)
        self._readers.shutdown(wait=True, cancel_futures=True)
        if self._state is not None:
            self._state.close()


async def _on(pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
    """Raises `StorageUnavailable` where it takes too long. Nothing begins for somebody who does not wait any more."""
    future = pool.submit(work)
    waiting = asyncio.wrap_future(future)
    waiting.add_done_callback(_heed)
    try:
        done, _ = await asyncio.wait((waiting,), timeout=_MAX_WAIT_S)
    except asyncio.CancelledError:
        future.cancel()
        raise
    if not done and not future.cancel():
        done, _ = await asyncio.wait((waiting,), timeout=_MAX_CALL_S)
    if not done:
        raise StorageUnavailable
    return waiting.result()


def _heed(ended: asyncio.Future[Any]) -> None:
    """Where nobody waits any more, a failure is nobody's."""
    if not ended.cancelled():
        ended.exception()


def _now_s() -> float:
    return asyncio.get_running_loop().time()
