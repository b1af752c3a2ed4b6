"""Conversations → prompts, by a process of its own that may be killed.

A chat template is a program out of a downloaded file. Its operations are counted, but counting does not bound its memory
in every case, so no template runs in the API process: it runs where a limit and a deadline hold it.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import msgspec

from completionist import ids
from completionist.engine.base import ModelCard
from completionist.errors import ChatTemplateFailed, ChatTemplateRefusal, OperatorError
from completionist.framed import frame, read
from completionist.local.frames import Answer, Broken, Question, Refused, Render, Rendered, Setup
from completionist.local.template import FALLBACK
from completionist.log import emit

_log = logging.getLogger(__name__)

_DEADLINE_S = 1.0
_DEADLINE_S_PER_BYTE = 1e-7
_START_DEADLINE_S = 30.0
_COMMAND = (sys.executable, "-P", "-m")
_WORKER = "completionist.local.render_worker"

_Result = TypeVar("_Result")


class ChatTemplateUnusable(OperatorError):
    """The model cannot be served: its chat template does not render the simplest of chats."""

    def __init__(self, model: str, reason: str) -> None:
        super().__init__(f"the chat template of {model} cannot be used: {reason}")


class Renderer:
    """Owns the process. `start` before use; one conversation at a time, in the order in which they come."""

    def __init__(self, card: ModelCard) -> None:
        self._card = card
        self.breakpoint_mark = ids.breakpoint_mark()
        self.medium_mark = ids.medium_mark()
        self._setup = Setup(
            template=card.chat_template or FALLBACK,
            bos_text=card.bos_text,
            eos_text=card.eos_text,
            specials=card.specials,
            breakpoint_mark=self.breakpoint_mark,
            medium_mark=self.medium_mark if card.sight or card.hearing else None,
        )
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="renderer")
        self._process: _Process | None = None

    async def start(self) -> None:
        """Try the template. Raises `ChatTemplateUnusable`; `close` follows all the same."""
        if broken := await self._on_thread(self._start_gently):
            raise ChatTemplateUnusable(self._card.name, broken.reason)

    async def rendered(self, question: Callable[[], Render]) -> Rendered:
        """The prompt of a conversation. `question` is asked for on this renderer's thread, for it may be long.

        Raises `ChatTemplateRefusal` (a 400) or `ChatTemplateFailed` (a 500).
        """
        answer = await self._on_thread(lambda: self._render(question()))
        match answer:
            case Rendered():
                return answer
            case Refused():
                raise ChatTemplateRefusal(answer.reason)
            case Broken():
                emit(_log, logging.ERROR, "the chat template failed", model=self._card.name, reason=answer.reason)
        raise ChatTemplateFailed

    async def close(self) -> None:
        """End the process."""
        await self._on_thread(self._end_process)
        self._thread.shutdown()

    async def _on_thread(self, call: Callable[[], _Result]) -> _Result:
        """A caller that leaves does not interrupt the exchange, so that nobody reads another one's answer."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def _render(self, question: Render) -> Answer:
        return self._ensure_process() or self._ask(question)

    def _start_gently(self) -> Broken | None:
        """Nobody waits for this model alone yet: others may be answering."""
        return self._start_process("completionist.gently", _WORKER)

    def _ensure_process(self) -> Broken | None:
        is_there = self._process and self._process.is_alive()
        return None if is_there else self._start_process(_WORKER)

    def _start_process(self, *module: str) -> Broken | None:
        self._end_process()
        self._process = _Process(module)
        answer = self._ask(self._setup) if self._process.has_started() else Broken("its process does not start")
        if isinstance(answer, Broken):
            self._end_process()
            return answer
        return None

    def _ask(self, question: Question) -> Answer:
        answer = self._process.ask(question) if self._process else None
        if answer is None:
            self._end_process()
            return Broken("it took more time or memory than any template needs")
        return answer

    def _end_process(self) -> None:
        if self._process is not None:
            self._process.end()
            self._process = None


class _Process:
    """The process and our end of the connection to it. All of it blocks."""

    def __init__(self, module: Sequence[str]) -> None:
        self._connection, theirs = socket.socketpair()
        self._source = self._connection.makefile("rb")
        self._decoder = msgspec.msgpack.Decoder(Answer)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [*_COMMAND, *module, str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                process_group=0,  # a terminal's Ctrl-C is for us
            )

    def has_started(self) -> bool:
        """Waits until it has."""
        self._connection.settimeout(_START_DEADLINE_S)
        return self._read() is not None

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, question: Question) -> Answer | None:
        """The answer; None where the process died or took too long, and is of no more use."""
        sent = frame(question)
        self._connection.settimeout(_DEADLINE_S + _DEADLINE_S_PER_BYTE * len(sent))
        try:
            self._connection.sendall(sent)
        except OSError:
            return None
        return self._read()

    def _read(self) -> Answer | None:
        try:
            return read(self._source, self._decoder)
        except OSError:
            return None

    def end(self) -> None:
        self._source.close()
        self._connection.close()
        self._process.kill()
        self._process.wait()
