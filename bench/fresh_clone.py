"""`make serve` in a fresh clone, from nothing to the first answer; downloads come from the caches of pip and of the user.

Each line that it prints is noted with its time.
"""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from bench.client import Ask, run
from bench.harness import Sample, Session, main
from bench.prompts import chat
from bench.servers import free_port

TITLE = "make serve in a fresh clone"
_DEADLINE_S = 300.0
_PROJECT = Path(__file__).parent.parent


def measure(session: Session) -> None:
    with tempfile.TemporaryDirectory() as directory:
        clone = Path(directory) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(_PROJECT), str(clone)], check=True)
        first, second = session.measure(lambda: _serve(session, clone)), session.measure(lambda: _serve(session, clone))
    session.value("to the first answer", "s", [first["answered"]])
    session.value("to the first answer, the second time", "s", [second["answered"]])


def _serve(session: Session, clone: Path) -> Sample:
    port, log = free_port(), clone.parent / "output"
    began_s = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["make", "serve", f"ARGS=--port {port}"],
            cwd=clone,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        try:
            _follow(session, process, log, port, began_s)
            run(port, [Ask(messages=chat("Say hello."), max_tokens=4)], model=session.options.model.name)
            return {"answered": time.perf_counter() - began_s}
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=30)


def _follow(session: Session, process: subprocess.Popen[bytes], log: Path, port: int, began_s: float) -> None:
    """Note new lines until the server is ready."""
    n_noted = 0
    while not _is_ready(port):
        elapsed_s = time.perf_counter() - began_s
        lines = log.read_text(errors="replace").replace("\r", "\n").splitlines()
        for line in lines[n_noted:]:
            session.note(f"{elapsed_s:6.1f} s  {line[:110]}")
        n_noted = len(lines)
        if process.poll() is not None or elapsed_s > _DEADLINE_S:
            raise RuntimeError(f"make serve did not get ready:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.1)


def _is_ready(port: int) -> bool:
    with suppress(OSError, http.client.HTTPException):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    return False


if __name__ == "__main__":
    main("fresh_clone", TITLE, measure)
