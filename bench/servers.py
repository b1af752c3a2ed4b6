"""Servers as processes of their own, ours and the peer, each started, awaited and ended in the same way."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import IO

import psutil

from bench.client import Ask, Load, Loop, run, run_loops
from bench.harness import Options
from bench.machine import tree_cpu_s

_START_DEADLINE_S = 120.0
_END_DEADLINE_S = 15.0
_CPU_CLOCK = 2


class Server:
    """A server that answers."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, model: str, ready_s: float) -> None:
        self.process = psutil.Process(process.pid)
        self.port = port
        self.model = model
        self.ready_s = ready_s
        """From starting the process to its first «ready»."""

    def run(self, asks: Sequence[Ask]) -> Load:
        """Send requests and wait for the answers."""
        return run(self.port, asks, model=self.model)

    def run_loops(self, loops: Sequence[Loop], duration_s: float) -> list[Load]:
        """Clients that always have a request under way, for a while."""
        return run_loops(self.port, loops, model=self.model, duration_s=duration_s)

    def cpu_s(self) -> float:
        """Used by the server and everything it started."""
        return tree_cpu_s(self.process)

    def api_cpu_s(self) -> float:
        """Used by the process that was started, without its children, to the microsecond: by its own CPU clock, whose id
        Linux makes of the process's (`clock_getcpuclockid`), or in hundredths elsewhere."""
        if platform.system() == "Linux":
            return time.clock_gettime((~self.process.pid << 3) | _CPU_CLOCK)
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def workers(self) -> list[psutil.Process]:
        return self.process.children(recursive=True)

    def get(self, path: str) -> tuple[int, str]:
        return _get(self.port, path)


@contextmanager
def completionist(
    options: Options,
    *,
    streams: int | None,
    context_tokens: int | None,
    stream_tokens: int | None = None,
    cache_bytes: int | None = None,
) -> Iterator[Server]:
    """Our server with the model of `options`; None leaves a size to it."""
    sizes = {
        "STREAMS": streams,
        "CONTEXT_TOKENS": context_tokens,
        "STREAM_TOKENS": stream_tokens,
        "CACHE_BYTES": cache_bytes,
    }
    with _completionist(options, sizes, {}) as server:
        yield server


@contextmanager
def _completionist(options: Options, sizes: Mapping[str, int | None], more: Mapping[str, str]) -> Iterator[Server]:
    port = free_port()
    environment = {
        "COMPLETIONIST_MODEL": str(options.model.path),
        "COMPLETIONIST_SERVER__PORT": str(port),
        "COMPLETIONIST_ENGINE__LIBRARY": str(options.library.path),
        "COMPLETIONIST_ENGINE__THREADS": str(options.threads),
        "COMPLETIONIST_ENGINE__FLASH_ATTENTION": options.flash_attention,
        "COMPLETIONIST_LOG__LEVEL": "warning",
    }
    environment |= {f"COMPLETIONIST_ENGINE__{name}": str(size) for name, size in sizes.items() if size is not None}
    environment |= more
    command = [sys.executable, "-m", "completionist", "serve"]
    with started(command, port, "/health/ready", model=options.model.path.stem, environment=environment) as server:
        yield server


@contextmanager
def with_keys(options: Options, keys: Sequence[str], *, streams: int, context_tokens: int) -> Iterator[Server]:
    """Our server for these keys; each has a project of its name."""
    listed = [{"sha256": hashlib.sha256(key.encode()).hexdigest(), "project": key} for key in keys]
    more = {"COMPLETIONIST_KEYS": json.dumps(listed)}
    with _completionist(options, {"STREAMS": streams, "CONTEXT_TOKENS": context_tokens}, more) as server:
        yield server


@contextmanager
def with_second(options: Options, name: str, *, streams: int, context_tokens: int) -> Iterator[Server]:
    """Our server with the model file of `options` under a second name too, which stays loaded once it is."""
    served = {name: {"model": str(options.model.path), "keep_alive_s": "forever"}}
    more = {"COMPLETIONIST_SERVED": json.dumps(served)}
    with _completionist(options, {"STREAMS": streams, "CONTEXT_TOKENS": context_tokens}, more) as server:
        yield server


@contextmanager
def scripted() -> Iterator[Server]:
    """Our server with a script that plays in a worker process; answers are as long as they may be."""
    port = free_port()
    command = [sys.executable, "-m", "bench.scripted", str(port)]
    with started(command, port, "/health/ready", model="scripted", environment={}) as server:
        yield server


@contextmanager
def bare_server() -> Iterator[Server]:
    """The least that can be done with the same script."""
    port = free_port()
    command = [sys.executable, "-m", "bench.bare_server", str(port)]
    with started(command, port, "/health/ready", model="scripted", environment={}) as server:
        yield server


@contextmanager
def peer(options: Options, *, slots: int, context_tokens: int) -> Iterator[Server]:
    """The peer with the same model, threads and context length. It runs on the wheel's library, its only one."""
    port = free_port()
    arguments = [options.model.path, options.threads, slots, context_tokens, port]
    command = [sys.executable, "-m", "bench.peer", *map(str, arguments)]
    with started(command, port, "/health", model=options.model.path.stem, environment={}) as server:
        yield server


@contextmanager
def started(
    command: list[str], port: int, ready_path: str, *, model: str, environment: Mapping[str, str]
) -> Iterator[Server]:
    """Start, wait until it is ready, and end it afterwards. What it writes is shown only where it fails to start."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryDirectory() as data:
        began_s = time.perf_counter()
        own = {**environment, "XDG_DATA_HOME": data}  # a database that goes with the server
        process = subprocess.Popen(
            command, env=os.environ | own, stdout=output, stderr=output, stdin=subprocess.DEVNULL
        )
        try:
            _wait_until_ready(process, port, ready_path, output)
            yield Server(process, port, model, time.perf_counter() - began_s)
        finally:
            _end(process)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, path: str, output: IO[bytes]) -> None:
    deadline_s = time.monotonic() + _START_DEADLINE_S
    while time.monotonic() < deadline_s and process.poll() is None:
        with suppress(OSError, http.client.HTTPException):
            if _get(port, path)[0] == 200:
                return
        time.sleep(0.01)
    output.seek(0)
    said = output.read().decode(errors="replace")[-2000:]
    raise RuntimeError(f"{' '.join(process.args[:4] if isinstance(process.args, list) else [])} did not start:\n{said}")


def _get(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    finally:
        connection.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=_END_DEADLINE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
