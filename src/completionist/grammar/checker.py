"""The process that tries clients' grammars, from standard input to standard output (`grammar.frames`).

    python -m completionist.grammar.checker SECONDS

Each question may take so many seconds of a processor; then the kernel ends the process. It runs at low priority, so
that it slows no stream, and counts its own time alone, so that a busy machine makes no grammar too complex.

It holds nothing, so it may die or be killed at any time.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
from pathlib import Path
from typing import BinaryIO

import msgspec

from completionist.grammar.frames import HEADER, Began, Check, Report, Verdict
from completionist.grammar.trial import Trials

NICENESS = 10
_MEMORY_BYTES = 1 << 30
_STACK_BYTES = 256 << 20


def main(deadline_s: float) -> None:
    """Answer until the other side closes. On a thread, for only a thread can have so deep a stack."""
    os.nice(NICENESS)
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, resource.RLIM_INFINITY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    threading.stack_size(_STACK_BYTES)
    serving = threading.Thread(target=_serve, args=(sys.stdin.buffer, sys.stdout.buffer, deadline_s))
    serving.start()
    serving.join()


def _serve(source: BinaryIO, sink: BinaryIO, deadline_s: float) -> None:
    trials = Trials()
    decoder = msgspec.msgpack.Decoder(Check)
    _say(sink, Verdict())  # ready: the time it took to start is not counted as anybody's
    _silence()
    while header := source.read(HEADER.size):
        check = decoder.decode(source.read(*HEADER.unpack(header)))
        signal.setitimer(signal.ITIMER_PROF, deadline_s)  # its signal ends the process, native code or not
        verdict = trials.verdict(check, lambda part: _say(sink, Began(part)))
        signal.setitimer(signal.ITIMER_PROF, 0)
        _say(sink, verdict)


def _silence() -> None:
    """Where memory runs out the library writes a line of its own before it ends; the server's log has lines of one form."""
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stderr.fileno())


def _say(sink: BinaryIO, report: Report) -> None:
    body = msgspec.msgpack.encode(report)
    sink.write(HEADER.pack(len(body)) + body)
    sink.flush()


if __name__ == "__main__":
    main(float(sys.argv[1]))
