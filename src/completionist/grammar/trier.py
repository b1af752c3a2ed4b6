"""The process that tries grammars, seen from the API process: asked one question at a time, replaced when it is lost."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading

import msgspec

from completionist.errors import ServerError
from completionist.grammar.frames import HEADER, Began, Check, Report, Verdict
from completionist.log import emit

_log = logging.getLogger(__name__)

_COMMAND = (sys.executable, "-P", "-m", "completionist.grammar.checker")
_PATIENCE = 3
"""By the clock a question may take so many times its processor time: the machine may be busy, but whoever waits has an end."""
_decoder: msgspec.msgpack.Decoder[Report] = msgspec.msgpack.Decoder(Report)


class Lost(msgspec.Struct, frozen=True):
    """The question killed the process, or outlasted the deadline; `part` is what it was at."""

    part: int


class Trier:
    """Owns the process, which starts at the first question. All of it blocks, and belongs to one thread.

    `deadline_s` is of processor time.
    """

    def __init__(self, *, deadline_s: float) -> None:
        self._deadline_s = deadline_s
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Of the process; None while there is none."""
        return self._process.pid if self._process else None

    def ask(self, check: Check) -> Verdict | Lost:
        """Raises `ServerError` where the process does not start."""
        body = msgspec.msgpack.encode(check)
        process = self._process_that_reads(HEADER.pack(len(body)) + body)
        watchdog = threading.Timer(_PATIENCE * self._deadline_s, process.kill)
        watchdog.start()
        try:
            outcome = _outcome(process)
        finally:
            watchdog.cancel()
        if isinstance(outcome, Lost):
            self.end()
        return outcome

    def end(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _process_that_reads(self, question: bytes) -> subprocess.Popen[bytes]:
        """One that died while nobody asked shows it only now, and says nothing about the question."""
        while True:
            process = self._ensure_process()
            if process.stdin is not None:
                try:
                    process.stdin.write(question)
                    process.stdin.flush()
                except BrokenPipeError:
                    self.end()
                else:
                    return process

    def _ensure_process(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self.end()
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [*_COMMAND, str(self._deadline_s)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                process_group=0,  # a terminal's Ctrl-C is for us
            )
            if isinstance(_outcome(self._process), Lost):
                emit(_log, logging.ERROR, "the process that checks grammars does not start")
                raise ServerError
        return self._process


def _outcome(process: subprocess.Popen[bytes]) -> Verdict | Lost:
    part = 0
    while report := _report(process):
        if isinstance(report, Verdict):
            return report
        part = report.part
    return Lost(part)


def _report(process: subprocess.Popen[bytes]) -> Began | Verdict | None:
    """None where the process has ended."""
    if process.stdout is None:
        return None
    header = process.stdout.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    return _decoder.decode(process.stdout.read(*HEADER.unpack(header)))
