"""A whole server process on a real port, with the loop and the signals that users get.

Run as a module it is that process: `python -m tests.support.process SCRIPT SETTINGS`, where SCRIPT names a script of this
file and SETTINGS is JSON.
"""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from completionist.app import Serving, serve
from completionist.engine.base import PlainText, Prompt
from completionist.engine.scripted import Crash, Move, Pause, Script, friendly
from completionist.settings import Settings

_ROOT = Path(__file__).parents[2]


def short(prompt: Prompt) -> Sequence[Sequence[Move]]:
    """Says two words."""
    return [[b"High", b" water"]] * prompt.n


def held(prompt: Prompt) -> Sequence[Sequence[Move]]:
    """Says a word and then nothing, for ever."""
    return [[b"word", Pause(math.inf)]] * prompt.n


def slow(prompt: Prompt) -> Sequence[Sequence[Move]]:
    """Takes two seconds: there is time to look at a server that waits for its end."""
    return [[b"High", Pause(2), b" water"]] * prompt.n


def crashing(prompt: Prompt) -> Sequence[Sequence[Move]]:
    """Kills the engine."""
    return [[b"word", Crash(restart_s=0.5)]] * prompt.n


_TORRENT: Sequence[Move] = [b"x" * 2048] * 4000
"""Made once: what every request made for itself would look like memory that the server keeps."""


def torrent(prompt: Prompt) -> Sequence[Sequence[Move]]:
    """Says more than any buffer takes."""
    return [_TORRENT] * prompt.n


def repeating(prompt: Prompt) -> Sequence[Sequence[Move]]:
    """Says what the user says, over and over to a megabyte: first byte by byte, then cut where no character ends."""
    (*_, asked) = [s.text for s in prompt.segments if isinstance(s, PlainText) and s.text.startswith("user\n")]
    said = repeated(asked.removeprefix("user\n"))
    return [
        [*(said[i : i + 1] for i in range(16)), *(said[i : i + 16385] for i in range(16, len(said), 16385))]
    ] * prompt.n


def repeated(text: str) -> bytes:
    """A megabyte of it; the last character may be cut."""
    encoded = text.encode()
    return (encoded * (2**20 // len(encoded) + 1))[: 2**20]


SCRIPTS: dict[str, Script] = {
    script.__name__: script for script in (friendly, short, held, slow, crashing, torrent, repeating)
}


class ServerProcess:
    """A running server process."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.url = url
        self.port = int(url.rpartition(":")[2])
        self.facts = psutil.Process(process.pid)

    def wait(self) -> tuple[int, str]:
        """Exit code and log, once it has ended."""
        _, log = self.process.communicate(timeout=60)
        return self.process.returncode, log


@contextmanager
def server_process(
    script: Callable[..., object] = friendly, settings: Settings | None = None
) -> Iterator[ServerProcess]:
    """Start a server; it is killed at the end if it still runs."""
    settings = settings or Settings()
    settings = settings.model_copy(update={"server": settings.server.model_copy(update={"port": 0})})
    command = [sys.executable, "-m", "tests.support.process", script.__name__, settings.model_dump_json()]
    with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url, process.communicate(timeout=60)[1]
            yield ServerProcess(process, url)
        finally:
            process.kill()


def _announce(serving: Serving) -> None:
    print(serving.url, flush=True)  # noqa: T201 (the parent reads it)


if __name__ == "__main__":
    sys.exit(serve(Settings.model_validate_json(sys.argv[2]), SCRIPTS[sys.argv[1]], _announce))
