"""Bytes become a draft of a request: light ones here, heavy ones in a helper process.

The decoder of a large body holds the interpreter lock for its whole length, so a thread would not keep the event loop
free; another process does. The helper starts with the first large body and is replaced when it dies.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Protocol, cast

from completionist.api.carrying import packed, unpacked
from completionist.errors import APIError
from completionist.types.request import STRICT, ChatRequest, Draft, Reading

MAX_BODY_BYTES_HERE = 64 * 2**10
MAX_BRACKETS_HERE = 1000
"""Objects and arrays. The worst bodies within both bounds cost 4 ms (an ordinary chat of 20 messages 0.1 ms)."""


class RequestDraft(Protocol):
    """A body that names its model; what is wrong with the rest shows when it is made a request."""

    @property
    def model(self) -> str: ...

    def request(self) -> ChatRequest: ...


class Decoder:
    """Owns the helper process."""

    def __init__(self, reading: Callable[[], Reading] = lambda: STRICT) -> None:
        """`reading` is asked at every request: models come and go."""
        self._current_reading = reading
        self._pool: ProcessPoolExecutor | None = None
        self._lock = threading.Lock()

    @property
    def _reading(self) -> Reading:
        return self._current_reading()

    async def read(self, *parts: bytes) -> RequestDraft:
        """A body, in the parts in which it came: a large one is put together elsewhere too. Raises what `Draft.read` raises."""
        if sum(map(len, parts)) <= MAX_BODY_BYTES_HERE and is_light(body := b"".join(parts)):
            return _Light(Draft.read(body), self._reading)
        return await asyncio.to_thread(self._read_elsewhere, parts)

    def close(self) -> None:
        """Ends the helper; it decodes nothing that anybody waits for by then."""
        with self._lock:
            if self._pool is not None:
                self._pool.shutdown(wait=True, cancel_futures=True)
                self._pool = None

    def _read_elsewhere(self, parts: tuple[bytes, ...]) -> _Judged:
        try:
            judged = self._helper().submit(_judge, parts, self._reading).result()
        except BrokenProcessPool:
            self.close()
            judged = self._helper().submit(_judge, parts, self._reading).result()
        self._helper().submit(_nothing)  # the thread of the pool's queue holds what it sent last: not a whole body
        return cast("_Judged", unpacked(judged))

    def _helper(self) -> ProcessPoolExecutor:
        with self._lock:
            if self._pool is None:
                context = multiprocessing.get_context("spawn")
                self._pool = ProcessPoolExecutor(1, mp_context=context, initializer=_end_with_parent)
            return self._pool


def is_light(body: bytes) -> bool:
    """Whether reading `body` is short enough for the event loop. Brackets inside strings count too: they do no harm."""
    return len(body) <= MAX_BODY_BYTES_HERE and body.count(b"{") + body.count(b"[") <= MAX_BRACKETS_HERE


class _Light:
    """A draft that is made a request where it is asked for."""

    def __init__(self, draft: Draft, reading: Reading) -> None:
        self.model = draft.model
        self._draft = draft
        self._reading = reading

    def request(self) -> ChatRequest:
        return self._draft.request(self._reading)


class _Judged:
    """A draft that was made a request, or found wanting, in the helper."""

    def __init__(self, model: str, outcome: ChatRequest | APIError) -> None:
        self.model = model
        self._outcome = outcome

    def request(self) -> ChatRequest:
        """Once. The error is let go: it will know this frame, and in a circle the whole body would wait for a collection."""
        if isinstance(self._outcome, APIError):
            raise self.__dict__.pop("_outcome")
        return self._outcome


def _end_with_parent() -> None:
    """A server that was killed could not close its helper, and the queue of the pool never tells."""

    def wait() -> None:
        if parent := multiprocessing.parent_process():
            parent.join()
        os._exit(1)

    threading.Thread(target=wait, name="end with parent", daemon=True).start()


def _nothing() -> None:
    """It takes the place of a body."""


def _judge(parts: tuple[bytes, ...], reading: Reading) -> bytes:
    """A `_Judged`, packed."""
    draft = Draft.read(b"".join(parts))
    try:
        judged = _Judged(draft.model, draft.request(reading))
    except APIError as error:
        judged = _Judged(draft.model, error)
    return packed(judged)
