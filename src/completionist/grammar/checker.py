"""The process that tries clients' grammars, from standard input to standard output (`grammar.frames`).

It holds nothing, so it may die or be killed at any time.
"""

from __future__ import annotations

import resource
import sys
import threading
from typing import BinaryIO

import msgspec

from completionist.grammar.frames import HEADER, Began, Check, Report, Verdict
from completionist.grammar.trial import Trials

_MEMORY_BYTES = 1 << 30
_STACK_BYTES = 256 << 20


def main() -> None:
    """Answer until the other side closes. On a thread, for only a thread can have so deep a stack."""
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, resource.RLIM_INFINITY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    threading.stack_size(_STACK_BYTES)
    serving = threading.Thread(target=_serve, args=(sys.stdin.buffer, sys.stdout.buffer))
    serving.start()
    serving.join()


def _serve(source: BinaryIO, sink: BinaryIO) -> None:
    trials = Trials()
    decoder = msgspec.msgpack.Decoder(Check)
    _say(sink, Verdict())  # ready: the time it took to start is not counted as anybody's
    while header := source.read(HEADER.size):
        check = decoder.decode(source.read(*HEADER.unpack(header)))
        _say(sink, trials.verdict(check, lambda part: _say(sink, Began(part))))


def _say(sink: BinaryIO, report: Report) -> None:
    body = msgspec.msgpack.encode(report)
    sink.write(HEADER.pack(len(body)) + body)
    sink.flush()


if __name__ == "__main__":
    main()
