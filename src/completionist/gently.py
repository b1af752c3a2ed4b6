"""A worker process whose start takes little from what goes on beside it.

    python -m completionist.gently [--beside-answers] [--on-one-processor] MODULE DESCRIPTOR

`MODULE.prepared(socket)`, and importing the module, run on a thread of lower priority, so that they take little from the
steps of other models where processors are short. What it returns is then run on the main thread, whose priority was never
changed: without privileges nothing can raise its priority again. Where threads have no priority of their own nothing is
different.

`--beside-answers`: another model is answering, which rests after each of its steps meanwhile (`engine.frames.Rest`). The time
of the rests is all that a load needs, so it may have the lowest priority of all beside the steps themselves.

`--on-one-processor` is for machines whose processors are all busy with each step: a thread that moves between them gets its
share of several, and a step that two of them delay is late twice.
"""

from __future__ import annotations

import importlib
import os
import socket
import sys
import threading
from collections.abc import Callable

BESIDE_ANSWERS = "--beside-answers"
ON_ONE_PROCESSOR = "--on-one-processor"
NICENESS = 8
"""A seventh of a processor that others want too: a time slice of 4 ms in 28. At 5 each step of a stream loses one to it, and
some lose two."""
NICENESS_BESIDE_ANSWERS = 19


def main(module: str, descriptor: int, *, niceness: int, is_on_one_processor: bool) -> None:
    ready: list[Callable[[], None]] = []

    def prepare() -> None:
        if sys.platform == "linux":  # elsewhere the number would be a process's
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
            if is_on_one_processor:
                os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # OpenMP, once it is loaded, binds it there too
        ready.append(importlib.import_module(module).prepared(socket.socket(fileno=descriptor)))

    thread = threading.Thread(target=prepare, name="prepare")
    thread.start()
    thread.join()
    for serve in ready:
        serve()


if __name__ == "__main__":
    *options, module_name, number = sys.argv[1:]
    main(
        module_name,
        int(number),
        niceness=NICENESS_BESIDE_ANSWERS if BESIDE_ANSWERS in options else NICENESS,
        is_on_one_processor=ON_ONE_PROCESSOR in options,
    )
