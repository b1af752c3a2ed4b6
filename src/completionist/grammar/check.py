"""Judging the grammars of a request before it runs: 400 with the contract's words, whatever they do to the compiler.

The trial runs in another process under a deadline. A grammar that kills it or outlasts the deadline is too complex; the
process is started anew. What was found sound is remembered.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import subprocess
import sys
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

import msgspec

from completionist.engine.base import GrammarSpec
from completionist.errors import InvalidRequest, ServerError
from completionist.grammar.frames import HEADER, Check, Fault, Part, Verdict
from completionist.log import emit
from completionist.types.refusals import InvalidSchema

_log = logging.getLogger(__name__)

DEADLINE_S = 5.0
_MAX_REMEMBERED = 4096
_COMMAND = (sys.executable, "-P", "-m", "completionist.grammar.checker")
_NOTHING = GrammarSpec("start:", has_client_rules=False)
_TOO_COMPLEX = "it is too complex."


class ClientGrammar(msgspec.Struct, frozen=True, kw_only=True):
    """A part, and how its refusal names it. `subject` is that of `InvalidSchema`, unused for the other kinds."""

    part: Part
    param: str
    subject: str = ""
    code: str | None = None

    def refusal(self, reason: str) -> InvalidRequest:
        if self.part.kind in ("schema", "strict_schema"):
            return InvalidSchema(self.param, self.subject, reason, code=self.code)
        return InvalidRequest(f"Invalid {self.part.kind} grammar: {reason}", param=self.param)


class GrammarChecks:
    """Owns the process, which starts at the first question. One question at a time."""

    def __init__(self, *, deadline_s: float = DEADLINE_S) -> None:
        self._deadline_s = deadline_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="grammar-check")
        self._process: subprocess.Popen[bytes] | None = None
        self._sound: OrderedDict[bytes, None] = OrderedDict()

    async def check(self, clients: tuple[ClientGrammar, ...], whole: GrammarSpec | None) -> None:
        """`whole` is the grammar of the answer, None where all of them are given and none is called upon.

        Raises `InvalidRequest` for the first of `clients` that cannot be used. A caller may leave at any time.
        """
        if clients:
            loop = asyncio.get_running_loop()
            fault = await loop.run_in_executor(self._thread, self._fault, clients, whole or _NOTHING)
            if fault is not None:
                raise clients[fault.part].refusal(fault.reason)

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._end_process)
        self._thread.shutdown()

    def _fault(self, clients: tuple[ClientGrammar, ...], whole: GrammarSpec) -> Fault | None:
        body = msgspec.msgpack.encode(Check(tuple(client.part for client in clients), whole))
        key = hashlib.sha256(body).digest()
        if key in self._sound:
            self._sound.move_to_end(key)
            return None
        verdict = self._ask(body)
        if verdict is None:
            return Fault(self._blame(clients), _TOO_COMPLEX)
        if verdict.fault is None:
            self._remember(key)
        return verdict.fault

    def _blame(self, clients: tuple[ClientGrammar, ...]) -> int:
        """The first part that the process does not survive by itself; the first of all where each of them is harmless."""
        for i, client in enumerate(clients if len(clients) > 1 else ()):
            if self._ask(msgspec.msgpack.encode(Check((client.part,), _NOTHING))) is None:
                return i
        return 0

    def _remember(self, key: bytes) -> None:
        self._sound[key] = None
        while len(self._sound) > _MAX_REMEMBERED:
            self._sound.popitem(last=False)

    def _ask(self, body: bytes) -> Verdict | None:
        """None where the process died of the question or had to be killed."""
        process = self._process_that_reads(HEADER.pack(len(body)) + body)
        watchdog = threading.Timer(self._deadline_s, process.kill)
        watchdog.start()
        try:
            answer = _answer(process)
        finally:
            watchdog.cancel()
        if answer is None:
            self._end_process()
        return answer

    def _process_that_reads(self, question: bytes) -> subprocess.Popen[bytes]:
        """One that died while nobody asked shows it only now, and says nothing about the question."""
        while True:
            process = self._ensure_process()
            if process.stdin is not None:
                try:
                    process.stdin.write(question)
                    process.stdin.flush()
                except BrokenPipeError:
                    self._end_process()
                else:
                    return process

    def _ensure_process(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._end_process()
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                _COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                process_group=0,  # a terminal's Ctrl-C is for us
            )
            if _answer(self._process) is None:
                emit(_log, logging.ERROR, "the process that checks grammars does not start")
                raise ServerError
        return self._process

    def _end_process(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def _answer(process: subprocess.Popen[bytes]) -> Verdict | None:
    if process.stdout is None:
        return None
    header = process.stdout.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    body = process.stdout.read(*HEADER.unpack(header))
    return msgspec.msgpack.decode(body, type=Verdict)
