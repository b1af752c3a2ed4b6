"""A worker that starts beside others: what it costs runs at low priority, what it then does at the usual one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from completionist.gently import NICENESS

_WORKER = """
    import os, threading
    def niceness(): return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    imported = niceness()
    def prepared(connection):
        said = [imported, niceness()]
        another = threading.Thread(target=lambda: said.append(niceness())); another.start(); another.join()
        return lambda: connection.sendall(repr([*said, niceness()]).encode())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own elsewhere")
def test_only_the_start_is_of_low_priority(tmp_path: Path) -> None:
    (tmp_path / "some_worker.py").write_text(textwrap.dedent(_WORKER))
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = [sys.executable, "-m", "completionist.gently", "some_worker", str(theirs.fileno())]
        subprocess.run(command, pass_fds=(theirs.fileno(),), cwd=tmp_path, check=True, timeout=30)
        assert ours.recv(100).decode() == repr([NICENESS, NICENESS, NICENESS, usual])
