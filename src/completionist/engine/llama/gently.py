"""The engine worker again, for a model that is loaded beside others that answer.

    python -m completionist.engine.llama.gently FD

What a start costs, importing and loading, runs on a thread of lower priority, so that it takes little from the steps of
other workers where processors are short. That thread ends when the model is there: a process could not raise its priority
again. Where threads have no priority of their own nothing is different.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from completionist.engine.llama.loop import Engine
    from completionist.engine.llama.worker import Channel

NICENESS = 5
"""A third of the processor time of a step that wants the same processor: enough to get there while all are busy."""


def main(descriptor: int) -> None:
    ready: list[tuple[Channel, Engine]] = []
    thread = threading.Thread(target=_prepare, args=(descriptor, ready), name="load")
    thread.start()
    thread.join()
    from completionist.engine.llama import worker  # noqa: PLC0415 - imported by the thread

    worker.die_with_parent()
    with contextlib.suppress(worker.SupervisorGone):
        for channel, engine in ready:
            worker.serve(channel, engine)
    worker.leave()


def _prepare(descriptor: int, ready: list[tuple[Channel, Engine]]) -> None:
    if sys.platform == "linux":  # elsewhere the number would be a process's
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
    from completionist.engine.llama import worker  # noqa: PLC0415 - the import is a good part of what is done here

    channel = worker.Channel(socket.socket(fileno=descriptor))
    with contextlib.suppress(worker.SupervisorGone):
        if engine := worker.prepared(channel):
            ready.append((channel, engine))


if __name__ == "__main__":
    main(int(sys.argv[1]))
