"""A worker that starts beside others: what it costs runs at low priority, what it then does at the usual one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from completionist.gently import BESIDE_ANSWERS, NICENESS, NICENESS_BESIDE_ANSWERS, ON_ONE_PROCESSOR

_ALL = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
_WORKER = """
    import os, threading
    def niceness(): return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    def seen(): return niceness(), len(os.sched_getaffinity(0))
    imported = seen()
    def prepared(connection):
        said = [imported, seen()]
        another = threading.Thread(target=lambda: said.append(seen())); another.start(); another.join()
        return lambda: connection.sendall(repr([*said, seen()]).encode())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own elsewhere")
@pytest.mark.parametrize(
    ("options", "held_back"),
    [
        ((), (NICENESS, len(_ALL))),
        ((ON_ONE_PROCESSOR,), (NICENESS, 1)),
        ((ON_ONE_PROCESSOR, BESIDE_ANSWERS), (NICENESS_BESIDE_ANSWERS, 1)),
    ],
)
def test_only_the_start_is_held_back(tmp_path: Path, options: tuple[str, ...], held_back: tuple[int, int]) -> None:
    (tmp_path / "some_worker.py").write_text(textwrap.dedent(_WORKER))
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = [sys.executable, "-m", "completionist.gently", *options, "some_worker", str(theirs.fileno())]
        subprocess.run(command, pass_fds=(theirs.fileno(),), cwd=tmp_path, check=True, timeout=30)
        assert ours.recv(100).decode() == repr([held_back, held_back, held_back, (usual, len(_ALL))])
