"""Judging the grammars of a request before it runs: 400 with the contract's words, whatever they do to the compiler.

The trial runs in a process of its own with a deadline (`grammar.checker`). A grammar that kills it or outlasts the deadline is
too complex. Verdicts are remembered, so that an application's grammars wait for nobody, and a hostile one that comes
again costs nothing. New ones are tried one at a time, projects in turn.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

import msgspec

from completionist.engine.base import GrammarSpec
from completionist.errors import InvalidRequest, Overloaded
from completionist.grammar.frames import TOO_COMPLEX, Check, Fault, Part, Verdict
from completionist.grammar.trier import Lost, Trier
from completionist.turns import Turns
from completionist.types.refusals import InvalidSchema

DEADLINE_S = 5.0
"""Of processor time; three times as long by the clock."""
PATIENCE_S = 120.0
"""How long a request may wait for its turn; then the server is overloaded, and says so."""
_MAX_REMEMBERED = 4096
_LOST_REMEMBERED_S = 60.0
"""A deadline that was missed says something about the machine, too."""


class ClientGrammar(msgspec.Struct, frozen=True, kw_only=True):
    """A part, where the request has it, and how its refusal names it. `subject` is that of `InvalidSchema`, unused for other
    kinds than schemas."""

    part: Part
    param: str
    subject: str = ""
    code: str | None = None

    @property
    def is_wish(self) -> bool:
        """Honoured if it can be, and never a reason to refuse the request."""
        return self.part.kind == "loose_schema"

    def refusal(self, reason: str) -> InvalidRequest:
        if self.part.kind in ("schema", "strict_schema", "loose_schema"):
            return InvalidSchema(self.param, self.subject, reason, code=self.code)
        return InvalidRequest(f"Invalid {self.part.kind} grammar: {reason}", param=self.param)


class _Known(msgspec.Struct, frozen=True):
    verdict: Verdict
    until_s: float = float("inf")


class GrammarChecks:
    """Belongs to one event loop."""

    def __init__(self, *, deadline_s: float = DEADLINE_S, patience_s: float = PATIENCE_S) -> None:
        self._trier = Trier(deadline_s=deadline_s)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="grammar-check")
        self._turns = Turns(patience_s=patience_s)
        self._known: OrderedDict[bytes, _Known] = OrderedDict()

    @property
    def pid(self) -> int | None:
        """Of the process that tries grammars; None while there is none."""
        return self._trier.pid

    async def check(self, clients: tuple[ClientGrammar, ...], project: str) -> frozenset[str]:
        """The `param` of every wish that can be granted; wishes are the last of `clients`.

        Raises `InvalidRequest` for the first of the others that cannot be used, `Overloaded`. A caller may leave at any time.
        """
        if not clients:
            return frozenset()
        try:
            verdict = await self._verdict(Check(tuple(client.part for client in clients)), project)
        except Overloaded:
            if clients[0].is_wish:
                return frozenset()
            raise
        if verdict.fault is not None:
            raise clients[verdict.fault.part].refusal(verdict.fault.reason)
        granted = (client for i, client in enumerate(clients) if client.is_wish and i not in verdict.unusable)
        return frozenset(client.param for client in granted)

    async def fits(self, whole: GrammarSpec, project: str) -> bool:
        """Whether the grammar of an answer can be used. Raises `Overloaded`."""
        return (await self._verdict(Check(whole=whole), project)).fault is None

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._trier.end)
        self._thread.shutdown()

    async def _verdict(self, check: Check, project: str) -> Verdict:
        key = await asyncio.to_thread(_digest, check)
        return (self._recall(key) or await self._tried(key, check, project)).verdict

    async def _tried(self, key: bytes, check: Check, project: str) -> _Known:
        """Another may have asked the same meanwhile."""
        try:
            await self._turns.begin(project)
        except TimeoutError:
            raise Overloaded from None
        if known := self._recall(key):
            self._turns.end()
            return known
        trial = asyncio.get_running_loop().run_in_executor(self._thread, self._try, check)
        trial.add_done_callback(lambda trial: self._settle(key, trial))
        return await asyncio.shield(trial)  # who leaves does not end it, nor the turn

    def _try(self, check: Check) -> _Known:
        outcome = self._trier.ask(check)
        if isinstance(outcome, Lost):
            return _Known(_after(outcome, check), time.monotonic() + _LOST_REMEMBERED_S)
        return _Known(outcome)

    def _settle(self, key: bytes, trial: asyncio.Future[_Known]) -> None:
        self._turns.end()
        if not trial.cancelled() and trial.exception() is None:
            self._known[key] = trial.result()
            while len(self._known) > _MAX_REMEMBERED:
                self._known.popitem(last=False)

    def _recall(self, key: bytes) -> _Known | None:
        known = self._known.get(key)
        if known is None or known.until_s < time.monotonic():
            return None
        self._known.move_to_end(key)
        return known


def _after(lost: Lost, check: Check) -> Verdict:
    """Of what was not tried any more, because one part took the process with it."""
    if check.parts and check.parts[lost.part].kind == "loose_schema":  # the last ones: all others are sound
        return Verdict(unusable=tuple(range(lost.part, len(check.parts))))
    return Verdict(Fault(lost.part, TOO_COMPLEX))


def _digest(check: Check) -> bytes:
    return hashlib.sha256(msgspec.msgpack.encode(check)).digest()
