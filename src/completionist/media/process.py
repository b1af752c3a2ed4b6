"""One media worker process, seen from the API process: asked one question at a time, dead at its deadline.

The deadline is in processor time: a worker goes behind everything that generates text, so that on a busy machine the clock
says little about what a question costs. By the clock it has several times as long, in case it waits for something for ever.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import msgspec
import psutil

from completionist.framed import frame, read
from completionist.media.frames import Answer, Question

_COMMAND = (sys.executable, "-P", "-m", "completionist.media.worker")
_QUIET_THREADS: Mapping[str, str] = {
    # Idle threads sleep at once: a model that decodes beside them needs the processors.
    "OMP_WAIT_POLICY": "passive",
    "GOMP_SPINCOUNT": "0",
    "KMP_BLOCKTIME": "0",
    "OPENBLAS_NUM_THREADS": "1",
}
_START_DEADLINE_S = 30.0
_BY_THE_CLOCK = 5
"""How many times its deadline a question may take where others have the processors."""
_LOOK_EVERY_S = 0.2


class MediaProcess:
    """All of it blocks, and belongs to one thread. `memory_bytes`: address space, on Linux; `niceness`: beyond our own."""

    def __init__(self, *, memory_bytes: int, niceness: int) -> None:
        self._connection, theirs = socket.socketpair()
        self._source = self._connection.makefile("rb")
        self._decoder = msgspec.msgpack.Decoder(Answer)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [*_COMMAND, str(theirs.fileno()), str(memory_bytes), str(niceness)],
                pass_fds=(theirs.fileno(),),
                env={**_QUIET_THREADS, **os.environ},
                stdin=subprocess.DEVNULL,
                process_group=0,  # a terminal's Ctrl-C is for us
            )
        self._clock = psutil.Process(self._process.pid)

    @property
    def pid(self) -> int:
        return self._process.pid

    def has_started(self) -> bool:
        """Waits until it has."""
        return self._answer(_START_DEADLINE_S, ()) is not None

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, question: Question, payload: Iterable[bytes], deadline_s: float) -> Answer | None:
        """The answer; None where the process died or was killed at the deadline, and is of no more use."""
        return self._answer(deadline_s, (frame(question), *payload))

    def kill(self) -> None:
        """From any thread: whoever waits for an answer gets None."""
        self._process.kill()

    def end(self) -> None:
        self._source.close()
        self._connection.close()
        self._process.kill()
        self._process.wait()

    def _answer(self, deadline_s: float, sent: Iterable[bytes]) -> Answer | None:
        with self._watched(deadline_s):
            try:
                for data in sent:
                    self._connection.sendall(data)
                return read(self._source, self._decoder)
            except OSError:
                return None

    @contextmanager
    def _watched(self, deadline_s: float) -> Iterator[None]:
        is_over = threading.Event()
        watchdog = threading.Thread(target=self._watch, args=(deadline_s, is_over), name="deadline", daemon=True)
        watchdog.start()
        try:
            yield
        finally:
            is_over.set()
            watchdog.join()

    def _watch(self, deadline_s: float, is_over: threading.Event) -> None:
        latest_s, latest_cpu_s = time.monotonic() + _BY_THE_CLOCK * deadline_s, self._cpu_s() + deadline_s
        while not is_over.wait(_LOOK_EVERY_S):
            if time.monotonic() > latest_s or self._cpu_s() > latest_cpu_s:
                self._process.kill()
                return

    def _cpu_s(self) -> float:
        """That it has used so far; 0 where it is gone."""
        try:
            times = self._clock.cpu_times()
        except psutil.NoSuchProcess:
            return 0.0
        return float(times.user + times.system)
