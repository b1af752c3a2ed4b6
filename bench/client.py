"""A client that costs next to nothing: raw sockets, bytes kept with their time of arrival, parsed after the run.

It shares the machine with the server, so what it burns would be missing there; `Load.client_cpu_s` says how much it was.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from bench.prompts import Chat

_HOST = "127.0.0.1"
_DONE = b"data: [DONE]"


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One streamed request."""

    messages: Chat
    max_tokens: int
    temperature: float = 0
    top_p: float = 1
    after_s: float = 0
    """When it is sent, from the start of the load."""
    n: int = 1
    """Choices; their pieces come mixed."""
    leaves_after: int | None = None
    """Close the connection when so many pieces of the answer have arrived."""
    fields: Mapping[str, Any] = {}
    """More of the body. Where there is a prediction, the limit is sent in the field that goes with it."""
    is_background: bool = False
    """Close the connection when all requests that are not in the background are answered."""
    key: str | None = None
    """Whose request it is."""


class Piece(msgspec.Struct, frozen=True):
    """A chunk with text."""

    at_s: float
    """On the clock of `time.perf_counter`."""
    text: str


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came back. Times are on the clock of `time.perf_counter`."""

    status: int
    sent_s: float
    ended_s: float
    pieces: tuple[Piece, ...] = ()
    finish_reason: str | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    accepted_prediction_tokens: int = 0
    rejected_prediction_tokens: int = 0
    error: str = ""
    """The body of a refusal, or the error event of a stream."""
    has_left: bool = False
    """The client went away, as it was told to."""
    retry_after_s: float = 0
    """When a refusal says to come again."""

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.pieces)

    @property
    def ttft_s(self) -> float:
        """From sending to the first text."""
        return self.pieces[0].at_s - self.sent_s

    @property
    def is_whole(self) -> bool:
        return self.status == 200 and not self.error and self.finish_reason is not None


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """Some requests and what they cost us."""

    answers: tuple[Answer, ...]
    began_s: float
    ended_s: float
    client_cpu_s: float

    @property
    def wall_s(self) -> float:
        return self.ended_s - self.began_s

    @property
    def completion_tokens(self) -> int:
        return sum(answer.completion_tokens for answer in self.answers)


Loop = Callable[[int], Ask]
"""The n-th request of a client that always has one under way."""


class BrokenAnswer(Exception):
    """A server did not do what the scenario needs."""


def run(port: int, asks: Sequence[Ask], *, model: str) -> Load:
    """Send all requests, each at its time, and wait for all answers. Raises `BrokenAnswer` for one that failed."""
    load = asyncio.run(_run(port, asks, model))
    for answer in load.answers:
        if not (answer.is_whole or answer.has_left):
            raise BrokenAnswer(f"status {answer.status}, {len(answer.pieces)} pieces: {answer.error[:500]}")
    return load


def run_loops(port: int, loops: Sequence[Loop], *, model: str, duration_s: float) -> list[Load]:
    """Every loop asks, and when it is answered asks again; refused, it comes again when it was told to. What is under way at
    the end is left. One load for each loop; they share the client's CPU time."""
    return asyncio.run(_run_loops(port, loops, model, duration_s))


async def _run_loops(port: int, loops: Sequence[Loop], model: str, duration_s: float) -> list[Load]:
    began_s, cpu_s = time.perf_counter(), time.process_time()
    answers = await asyncio.gather(*(_loop(port, loop, model, began_s, began_s + duration_s) for loop in loops))
    ended_s, client_cpu_s = time.perf_counter(), time.process_time() - cpu_s
    return [
        Load(answers=tuple(of_loop), began_s=began_s, ended_s=ended_s, client_cpu_s=client_cpu_s) for of_loop in answers
    ]


async def _loop(port: int, loop: Loop, model: str, began_s: float, until_s: float) -> list[Answer]:
    answers: list[Answer] = []
    while True:
        ask = loop(len(answers))
        due_s = began_s + ask.after_s if not answers else time.perf_counter() + answers[-1].retry_after_s
        if due_s >= until_s:
            return answers
        await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
        exchange = _Exchange(_request(port, ask, model), None)
        await _connect(port, exchange)
        await asyncio.wait((exchange.is_over,), timeout=until_s - time.perf_counter())
        exchange.leave()
        answers.append(exchange.answer())


async def _run(port: int, asks: Sequence[Ask], model: str) -> Load:
    bodies = [_request(port, ask, model) for ask in asks]
    began_s, cpu_s = time.perf_counter(), time.process_time()
    exchanges = await _exchanges(port, asks, bodies, began_s)
    ended_s, client_cpu_s = time.perf_counter(), time.process_time() - cpu_s
    answers = tuple(exchange.answer() for exchange in exchanges)
    return Load(answers=answers, began_s=began_s, ended_s=ended_s, client_cpu_s=client_cpu_s)


async def _exchanges(port: int, asks: Sequence[Ask], bodies: list[bytes], began_s: float) -> list[_Exchange]:
    exchanges = [_Exchange(body, ask.leaves_after) for ask, body in zip(asks, bodies, strict=True)]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_hold(port, *pair, began_s)) for pair in zip(asks, exchanges, strict=True)]
        await asyncio.wait([task for ask, task in zip(asks, tasks, strict=True) if not ask.is_background])
        for ask, exchange in zip(asks, exchanges, strict=True):
            if ask.is_background:
                exchange.leave()
    return exchanges


async def _hold(port: int, ask: Ask, exchange: _Exchange, began_s: float) -> None:
    """One exchange, from its time on until it is over."""
    if (pause_s := began_s + ask.after_s - time.perf_counter()) > 0:
        await asyncio.sleep(pause_s)
    await _connect(port, exchange)
    await exchange.is_over


async def _connect(port: int, exchange: _Exchange) -> None:
    await asyncio.get_running_loop().create_connection(lambda: exchange, _HOST, port)


class _Exchange(asyncio.Protocol):
    """One connection: writes the request, keeps what comes."""

    def __init__(self, request: bytes, leaves_after: int | None) -> None:
        self._request = request
        self._leaves_after = leaves_after
        self._received: list[tuple[float, bytes]] = []
        self._n_events = 0
        self._has_left = False
        self._sent_s = 0.0
        self.is_over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._sent_s = time.perf_counter()
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._received.append((time.perf_counter(), data))
        if _DONE in data:
            self._transport.close()
        elif self._leaves_after is not None:
            self._n_events += data.count(b'"content"')
            if self._n_events > self._leaves_after:
                self.leave()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if not self.is_over.done():
            self.is_over.set_result(None)

    def leave(self) -> None:
        """Go away without waiting for the end."""
        if not self.is_over.done():
            self._has_left = True
            self._transport.abort()

    def answer(self) -> Answer:
        """Read what has been received."""
        ended_s = self._received[-1][0] if self._received else time.perf_counter()
        return _read(self._received, self._sent_s, ended_s, has_left=self._has_left)


def _request(port: int, ask: Ask, model: str) -> bytes:
    limit = "max_tokens" if "prediction" in ask.fields else "max_completion_tokens"
    body = msgspec.json.encode(
        {
            "model": model,
            "messages": ask.messages,
            limit: ask.max_tokens,
            "n": ask.n,
            "temperature": ask.temperature,
            "top_p": ask.top_p,
            "stream": True,
            "stream_options": {"include_usage": True},
            **ask.fields,
        }
    )
    authorization = f"Authorization: Bearer {ask.key}\r\n" if ask.key else ""
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {_HOST}:{port}\r\nConnection: close\r\n{authorization}"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _read(received: list[tuple[float, bytes]], sent_s: float, ended_s: float, *, has_left: bool) -> Answer:
    raw = b"".join(data for _, data in received)
    status = int(raw[9:12]) if raw.startswith(b"HTTP/1.1 ") else 0
    if status != 200:
        head, _, body = raw.partition(b"\r\n\r\n")
        retry = re.search(rb"\r\nretry-after: ([0-9]+)", head)
        return Answer(
            status=status,
            sent_s=sent_s,
            ended_s=ended_s,
            error=body.decode(errors="replace"),
            has_left=has_left,
            retry_after_s=float(retry[1]) if retry else 0,
        )
    reading = _Reading()
    for at_s, line in _lines(received):
        if line.startswith(b"data: {"):
            reading.add(at_s, msgspec.json.decode(line[6:]))
    completion = reading.usage.get("completion_tokens_details") or {}
    return Answer(
        status=status,
        sent_s=sent_s,
        ended_s=ended_s,
        pieces=tuple(reading.pieces),
        finish_reason=reading.finish_reason,
        prompt_tokens=reading.usage.get("prompt_tokens", 0),
        cached_tokens=(reading.usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0),
        completion_tokens=reading.usage.get("completion_tokens", 0),
        accepted_prediction_tokens=completion.get("accepted_prediction_tokens", 0),
        rejected_prediction_tokens=completion.get("rejected_prediction_tokens", 0),
        error=reading.error,
        has_left=has_left,
    )


def _lines(received: list[tuple[float, bytes]]) -> list[tuple[float, bytes]]:
    """Whole lines with the time at which their end arrived. The lines between them that give the sizes of HTTP's chunks
    are no `data:` lines and do no harm; a server that cut an event in two of those would be read wrongly, and none does."""
    lines, rest = [], b""
    for at_s, data in received:
        *whole, rest = (rest + data).split(b"\n")
        lines += [(at_s, line.rstrip(b"\r")) for line in whole]
    return lines


class _Reading:
    """Adds chunks up."""

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self.finish_reason: str | None = None
        self.usage: dict[str, Any] = {}
        self.error = ""

    def add(self, at_s: float, chunk: dict[str, Any]) -> None:
        self.usage = chunk.get("usage") or self.usage
        if "error" in chunk:
            self.error = str(chunk["error"])
        for choice in chunk.get("choices", ()):
            if text := choice["delta"].get("content"):
                self.pieces.append(Piece(at_s, text))
            self.finish_reason = choice.get("finish_reason") or self.finish_reason
