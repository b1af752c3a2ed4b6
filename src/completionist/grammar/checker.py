"""The process that tries clients' grammars. It holds nothing, so it may die or be killed at any time.

question and answer: u32 little-endian length · msgpack body, over standard input and output
"""

from __future__ import annotations

import resource
import struct
import sys
import threading
from typing import BinaryIO

import msgspec

from completionist.grammar.trial import Fault, Part, Trials

HEADER = struct.Struct("<I")
_MEMORY_BYTES = 1 << 30
_STACK_BYTES = 256 << 20


class Check(msgspec.Struct, frozen=True):
    """The client's `parts` of the answer's whole `grammar`."""

    parts: tuple[Part, ...]
    grammar: str


class Verdict(msgspec.Struct, frozen=True):
    """None: the engine can take the grammar."""

    fault: Fault | None


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
    while header := source.read(HEADER.size):
        check = decoder.decode(source.read(*HEADER.unpack(header)))
        body = msgspec.msgpack.encode(Verdict(trials.fault(check.parts, check.grammar)))
        sink.write(HEADER.pack(len(body)) + body)
        sink.flush()


if __name__ == "__main__":
    main()
