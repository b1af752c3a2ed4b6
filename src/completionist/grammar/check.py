"""Judging the grammars of a request before it runs: 400 with the contract's words, whatever they do to the compiler.

The trial runs in another process under a deadline (`grammar.checker`). A grammar that kills it or outlasts the deadline is
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
from completionist.grammar.frames import Check, Fault, Part
from completionist.grammar.trier import Lost, Trier
from completionist.turns import Turns
from completionist.types.refusals import InvalidSchema

DEADLINE_S = 5.0
PATIENCE_S = 20.0
"""How long a request may wait for its turn; then the server is overloaded, and says so."""
_MAX_REMEMBERED = 4096
_LOST_REMEMBERED_S = 60.0
"""A deadline that was missed says something about the machine, too."""
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


class _Known(msgspec.Struct, frozen=True):
    fault: Fault | None
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

    async def check(self, clients: tuple[ClientGrammar, ...], whole: GrammarSpec | None, project: str) -> None:
        """`whole` is the grammar of the answer, None where all of them are given and none is called upon.

        Raises `InvalidRequest` for the first of `clients` that cannot be used, `Overloaded`. A caller may leave at any time.
        """
        if not clients:
            return
        check = Check(tuple(client.part for client in clients), whole or _NOTHING)
        key = await asyncio.to_thread(_digest, check)
        known = self._recall(key) or await self._tried(key, check, project)
        if known.fault is not None:
            raise clients[known.fault.part].refusal(known.fault.reason)

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._trier.end)
        self._thread.shutdown()

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
            return _Known(Fault(outcome.part, _TOO_COMPLEX), time.monotonic() + _LOST_REMEMBERED_S)
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


def _digest(check: Check) -> bytes:
    return hashlib.sha256(msgspec.msgpack.encode(check)).digest()
