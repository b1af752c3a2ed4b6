"""One media worker process, seen from the API process: asked one question at a time, dead at its deadline."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping

import msgspec

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


class MediaProcess:
    """All of it blocks, and belongs to one thread. `memory_bytes`: address space, on Linux."""

    def __init__(self, *, memory_bytes: int) -> None:
        self._connection, theirs = socket.socketpair()
        self._source = self._connection.makefile("rb")
        self._decoder = msgspec.msgpack.Decoder(Answer)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [*_COMMAND, str(theirs.fileno()), str(memory_bytes)],
                pass_fds=(theirs.fileno(),),
                env={**_QUIET_THREADS, **os.environ},
                stdin=subprocess.DEVNULL,
                process_group=0,  # a terminal's Ctrl-C is for us
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def has_started(self) -> bool:
        """Waits until it has."""
        return self._before(_START_DEADLINE_S, ()) is not None

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, question: Question, payload: Iterable[bytes], deadline_s: float) -> Answer | None:
        """The answer; None where the process died or was killed at the deadline, and is of no more use."""
        return self._before(deadline_s, (frame(question), *payload))

    def kill(self) -> None:
        """From any thread: whoever waits for an answer gets None."""
        self._process.kill()

    def end(self) -> None:
        self._source.close()
        self._connection.close()
        self._process.kill()
        self._process.wait()

    def _before(self, deadline_s: float, sent: Iterable[bytes]) -> Answer | None:
        watchdog = threading.Timer(deadline_s, self._process.kill)
        watchdog.start()
        try:
            for data in sent:
                self._connection.sendall(data)
            return read(self._source, self._decoder)
        except OSError:
            return None
        finally:
            watchdog.cancel()
