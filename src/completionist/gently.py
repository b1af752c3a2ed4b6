"""A worker process whose start takes little from what goes on beside it.

    python -m completionist.gently MODULE DESCRIPTOR

`MODULE.prepared(socket)`, and importing the module, run on a thread of lower priority, so that they take little from the
steps of other models where processors are short. What it returns is then run on the main thread, whose priority was never
changed: without privileges nothing can raise its priority again. Where threads have no priority of their own nothing is
different.
"""

from __future__ import annotations

import importlib
import os
import socket
import sys
import threading
from collections.abc import Callable

NICENESS = 10
"""A tenth of a processor that others want too: enough to get there while all are busy. At 5, a quarter, each step of a
stream on the same processor loses a whole time slice to it; at 13 a load takes twice as long, and streams notice it as much."""


def main(module: str, descriptor: int) -> None:
    ready: list[Callable[[], None]] = []
    thread = threading.Thread(target=_prepare, args=(module, descriptor, ready), name="prepare")
    thread.start()
    thread.join()
    for serve in ready:
        serve()


def _prepare(module: str, descriptor: int, ready: list[Callable[[], None]]) -> None:
    if sys.platform == "linux":  # elsewhere the number would be a process's
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
    ready.append(importlib.import_module(module).prepared(socket.socket(fileno=descriptor)))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
