"""How an engine worker is started: it can be loading a model before anything else of the server is imported."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Mapping
from typing import Literal

import msgspec

from completionist.engine.frames import LoadModel, frame

Beside = Literal["nothing", "models", "answers"]
"""What is disturbed where a worker is started: nothing, models that may be asked any time, or answers that are under way."""


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """How to start a worker and what it is to load."""

    command: tuple[str, ...]
    """The number of the worker's end of the socket is added as the last argument."""
    environment: Mapping[str, str]
    """Added to this process's own."""
    load: LoadModel


class Spawned(msgspec.Struct, frozen=True):
    """A process that has been told what to load, and our end of the connection to it."""

    process: subprocess.Popen[bytes]
    connection: socket.socket

    def end(self) -> None:
        """Close the connection, and kill and reap a process that nobody has reaped. Idempotent."""
        self.connection.close()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def spawn(launch: Launch) -> Spawned:
    """Start a worker and hand it its order. Raises `OSError`."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [*launch.command, str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            env={**os.environ, **launch.environment},
            stdin=subprocess.DEVNULL,
            process_group=0,  # a terminal's Ctrl-C is for us; the worker goes when we have drained
        )
        ours.sendall(
            frame(launch.load)
        )  # while their end is open here: one that dies at once is found out by whoever reads
    return Spawned(process, ours)
