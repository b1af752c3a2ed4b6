"""The API process's side of one media worker: a queue in which projects take turns, and a process that may die.

There is one worker for each kind of work, so that a file that kills its decoder takes no warm model along. The process
starts with the first question and is replaced when it was lost.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from completionist.errors import Overloaded, ServerError
from completionist.log import emit
from completionist.media.frames import Answer, Question
from completionist.media.process import MediaProcess
from completionist.turns import Turns
from completionist.types.parts import Base64

_log = logging.getLogger(__name__)

_NICENESS = 19
"""A model's decode steps go first. Who gets a processor that a step wants has it for a tick, 4 ms on many machines, half of a
small model's step: by their shares, at 5 every second step loses one and some lose two, at 10 four in ten, at 19 one in
twenty. What steps leave over is not a question of priority."""
_PATIENCE_S = 120.0
"""How long a question may wait for its turn; then the server is overloaded, and says so."""


_SLICE_CHARACTERS = 2**18
"""Of a text on its way: copying more of it at once would hold up other threads."""


def slices(data: Base64) -> Iterator[bytes]:
    """A payload."""
    for start in range(data.start, len(data.text), _SLICE_CHARACTERS):
        yield data.text[start : start + _SLICE_CHARACTERS].encode()


class MediaWorker:
    """Belongs to one event loop. `name`: of the kind of work, for logs; `deadline_s`: of processor time for one question."""

    def __init__(
        self,
        name: str,
        *,
        memory_bytes: int,
        deadline_s: float,
        niceness: int = _NICENESS,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        self._name = name
        self._memory_bytes = memory_bytes
        self._deadline_s = deadline_s
        self._niceness = niceness
        self._turns = Turns(patience_s=patience_s)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._process: MediaProcess | None = None
        self._is_closing = False

    @property
    def pid(self) -> int | None:
        """None while there is no process."""
        return self._process.pid if self._process else None

    async def ask(
        self, project: str, question: Question, payload: Callable[[], Iterable[bytes]] = tuple
    ) -> Answer | None:
        """The answer; None where the question killed the process, or outlasted the deadline. A caller may leave at any time.

        `payload` is asked for on the worker's own thread. Raises `Overloaded`; `ServerError` where no process starts.
        """
        try:
            await self._turns.begin(project)
        except TimeoutError:
            raise Overloaded from None
        answering = asyncio.get_running_loop().run_in_executor(self._thread, self._ask, question, payload)
        answering.add_done_callback(self._settle)
        return await asyncio.shield(answering)  # who leaves does not end it, nor the turn

    async def close(self) -> None:
        """End the process, in the middle of a question too."""
        self._is_closing = True
        if self._process:
            self._process.kill()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._end_process)
        self._thread.shutdown()

    def _settle(self, answering: asyncio.Future[Answer | None]) -> None:
        self._turns.end()
        if not answering.cancelled():
            answering.exception()  # whoever asked may have left

    def _ask(self, question: Question, payload: Callable[[], Iterable[bytes]]) -> Answer | None:
        process = self._ensure_process()
        answer = process.ask(question, payload(), self._deadline_s)
        if answer is None:
            emit(_log, logging.WARNING, "a media worker was lost", kind=self._name)
            self._end_process()
            if not self._is_closing:
                self._ensure_process()  # the next question need not wait for it
        return answer

    def _ensure_process(self) -> MediaProcess:
        if self._process and self._process.is_alive():
            return self._process
        self._end_process()
        self._process = MediaProcess(memory_bytes=self._memory_bytes, niceness=self._niceness)
        if not self._process.has_started():
            self._end_process()
            emit(_log, logging.ERROR, "a media worker does not start", kind=self._name)
            raise ServerError
        return self._process

    def _end_process(self) -> None:
        if self._process is not None:
            self._process.end()
            self._process = None
