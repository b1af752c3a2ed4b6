"""A guard for event loops: no callback may use more than 5 ms of its thread's CPU time, or make a blocking call.

CPU time, not wall time, so that a busy machine fails nothing; what the garbage collector takes is not counted. A virtual
machine charges a thread with what its host took from it: a loop of 1 ms of work was seen to use 5 to 8 ms, once in ten
thousand rounds; and what runs first after a pause was seen to take ten times as long as right after it, since the host had
dropped its pages from the tables. So up to 20 ms count only when the loop is warm and the same coroutine or function was
that slow before. All are times of the machine that these tests were written on: where the same work takes twice as long
at that moment, twice as much is allowed. Blocking calls are seen through audit hooks: files, connections, name look-ups,
databases, processes. Only the plain asyncio loop can be watched, since uvloop runs its callbacks out of sight.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

MAX_CALLBACK_S = 0.005
MAX_ONCE_S = 4 * MAX_CALLBACK_S

PAUSE_S = 0.02
WARM_UP_S = 0.05
"""A loop that waited for a pause (wall time) is cold until it has worked for so long (CPU time)."""

_LOOP_ROUNDS = 50_000
_LOOP_S = 0.0018
"""What so many take on the machine that the limits are meant for."""


def _slowness() -> float:
    """How many times as long as there work takes here and now; at least 1."""

    def loop_s() -> float:
        began_s, total = time.thread_time(), 0
        for i in range(_LOOP_ROUNDS):
            total += i & 7
        return time.thread_time() - began_s

    return max(1.0, min(loop_s() for _ in range(5)) / _LOOP_S)


_BLOCKING_EVENTS = frozenset(
    {
        "open",
        "os.listdir",
        "os.mkdir",
        "os.remove",
        "os.rename",
        "os.scandir",
        "os.system",
        "socket.connect",
        "socket.getaddrinfo",
        "socket.gethostbyname",
        "sqlite3.connect",
        "subprocess.Popen",
    }
)


class LoopGuard:
    """Watches the loop of one thread; what it saw is in `complaints`."""

    def __init__(self, slowness: Callable[[], float] = _slowness) -> None:
        self.complaints: list[str] = []
        self._slowness = slowness
        self._slow: dict[str, str] = {}
        self._is_in_callback = False
        self._collecting_s = 0.0
        self._ended_s = 0.0
        self._warm_from_s = 0.0

    def begin(self) -> None:
        """Watch the event loop of the current thread from its next callback on."""
        _install()
        gc.callbacks.append(self._on_collection)
        _guards[threading.get_ident()] = self

    def end(self) -> None:
        """In the same thread."""
        if _guards.pop(threading.get_ident(), None):
            gc.callbacks.remove(self._on_collection)

    def check(self) -> None:
        """Fail with everything that was seen."""
        assert not self.complaints, "\n\n".join(self.complaints)

    def run(self, handle: asyncio.Handle) -> None:
        """Run one callback, watched."""
        began_s, self._collecting_s, self._is_in_callback = time.thread_time(), 0.0, True
        if time.perf_counter() - self._ended_s > PAUSE_S:
            self._warm_from_s = began_s + WARM_UP_S
        try:
            _run_unwatched(handle)
        finally:
            self._is_in_callback = False
            spent_s = time.thread_time() - began_s - self._collecting_s
            if spent_s > MAX_CALLBACK_S:
                self._judge(handle, spent_s, is_warm=began_s >= self._warm_from_s)
            self._ended_s = time.perf_counter()

    def _judge(self, handle: asyncio.Handle, spent_s: float, *, is_warm: bool) -> None:
        slowness = self._slowness()
        seen = f"{spent_s * 1000:.1f} ms of CPU time in {handle!r}"
        if spent_s > MAX_ONCE_S * slowness:
            self.complaints.append(seen)
        elif is_warm and spent_s > MAX_CALLBACK_S * slowness:
            before = self._slow.setdefault(_name_of(handle), seen)
            if before is not seen:
                self.complaints.append(f"{before}, then {seen}")

    def see(self, event: str, arguments: tuple[Any, ...]) -> None:
        """An audit event of this thread."""
        if self._is_in_callback and not (event == "socket.connect" and arguments[0].gettimeout() == 0):
            self._is_in_callback = False  # the trace itself reads files
            stack = "".join(traceback.format_stack(limit=12)[:-2])
            self.complaints.append(f"blocking call {event} {arguments!r:.200}\n{stack}")
            self._is_in_callback = True

    def _on_collection(self, phase: str, _: dict[str, int]) -> None:
        if _guards.get(threading.get_ident()) is self:
            self._collecting_s += time.thread_time() * (-1 if phase == "start" else 1)


def _name_of(handle: asyncio.Handle) -> str:
    """What a callback runs: the coroutine of a task, else the function."""
    callback: Any = handle._callback  # type: ignore[attr-defined]  # no public way says what a handle runs
    task = getattr(callback, "__self__", None)
    run = task.get_coro() if isinstance(task, asyncio.Task) else callback
    return getattr(run, "__qualname__", repr(run))


_guards: dict[int, LoopGuard] = {}
_run_unwatched = asyncio.Handle._run
_is_installed = False


def _run(handle: asyncio.Handle) -> None:
    guard = _guards.get(threading.get_ident())
    if guard is None:
        _run_unwatched(handle)
    else:
        guard.run(handle)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _BLOCKING_EVENTS and (guard := _guards.get(threading.get_ident())):
        guard.see(event, arguments)


def _install() -> None:
    """Once per process: an audit hook cannot be taken out again."""
    global _is_installed  # noqa: PLW0603 (it mirrors a fact about the process)
    if not _is_installed:
        sys.addaudithook(_audit)
        asyncio.Handle._run = _run  # type: ignore[method-assign, assignment]  # the one place every callback passes
        _is_installed = True
