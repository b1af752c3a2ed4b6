"""What goes wrong behind the API: crashes of the engine, faults of ours, answers that end too early."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator

import openai
import pytest

from completionist.chat.deltas import Closed, Delta, Opened, Tally, Text, Totals
from completionist.engine.base import ModelCard, Prompt, TokenEngine, WorkerFault
from completionist.engine.scripted import CARD, Crash, Move, Pause
from completionist.errors import ServerError
from completionist.types.caller import Caller
from completionist.types.completion import CompletionTokensDetails, PromptTokensDetails, Usage
from completionist.types.request import ChatRequest
from tests.conftest import Serve
from tests.support import raw
from tests.support.ask import ask, ask_streamed
from tests.support.server import RunningServer, eventually

CREATE = "/v1/chat/completions"
SORRY = "The server had an error while processing your request. Sorry about that!"
ERROR_EVENT = f'{{"error":{{"message":"{SORRY}","type":"server_error","param":null,"code":null}}}}'


def stream_body(server: RunningServer) -> list[str]:
    """The events of a stream on a connection of its own, read until the server closes it."""
    with raw.connection(server.port) as sock:
        sock.sendall(raw.request("POST", CREATE, "Connection: close", body=raw.chat(stream=True)))
        received = raw.read_to_end(sock)
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert body.endswith(b"0\r\n\r\n"), "the body must end as HTTP wants it"
    return [line.removeprefix("data: ") for line in body.decode().splitlines() if line.startswith("data: ")]


def crash_later(prompt: Prompt) -> list[list[Move]]:
    return [[b"High", Crash(restart_s=0.2)]] * prompt.n


def test_a_crash_in_mid_stream_is_one_error_event_and_the_end(
    serve: Serve, client_of: Callable[..., openai.OpenAI]
) -> None:
    server = serve(crash_later)
    *chunks, error, done = stream_body(server)
    assert (error, done) == (ERROR_EVENT, "[DONE]")
    assert all('"finish_reason":null' in chunk for chunk in chunks)
    (line,) = eventually(lambda: server.log_lines(event="request"))
    assert (line["status"], line["outcome"]) == (200, "failed")
    eventually(lambda: server.registry.is_ready)
    with pytest.raises(openai.APIError, match="Sorry about that"):
        ask_streamed(client_of(server, max_retries=2))
    assert server.metric("requests_failed_total") == 2  # the client did not try again


def test_a_crash_ends_everyone_under_way_and_the_next_are_served(
    serve: Serve, client_of: Callable[..., openai.OpenAI]
) -> None:
    def script(prompt: Prompt) -> list[list[Move]]:
        scripts: list[list[Move]] = [[b"a", Pause(60)], [b"a", Crash(restart_s=0.2)], [b"fine"]]
        return [scripts[prompt.n - 1]] * prompt.n

    server = serve(script)
    waiting = [raw.connection(server.port) for _ in range(10)]
    sockets = [connection.__enter__() for connection in waiting]
    for sock in sockets:
        sock.sendall(raw.request("POST", CREATE, body=raw.chat()))
    eventually(lambda: server.engine.stats.running == 10)
    raw.send(server.port, raw.request("POST", CREATE, body=raw.chat(n=2)))
    for sock in sockets:
        reply = raw.read_reply(sock)
        assert (reply.status, reply.headers["x-should-retry"], reply.error["message"]) == (500, "true", SORRY)
    for connection in waiting:
        connection.__exit__(None, None, None)
    assert ask(client_of(server, max_retries=3), n=3).choices[2].message.content == "fine"


def test_the_official_client_rides_over_a_crash(serve: Serve, client_of: Callable[..., openai.OpenAI]) -> None:
    server = serve()
    answers: Iterator[list[list[Move]]] = iter([[[b"High", Crash(restart_s=0.2)]], [[b"fine"]]])
    server.engine._script = lambda _: next(answers)
    assert ask(client_of(server, max_retries=4)).choices[0].message.content == "fine"


def test_a_fault_of_the_engine_stays_in_the_log(serve: Serve) -> None:
    server = serve(lambda _: [[WorkerFault(reason="ggml: secret /path at 0xdeadbeef")]])
    reply = raw.send(server.port, raw.request("POST", CREATE, body=raw.chat()))
    assert (reply.status, reply.error["message"], reply.error["type"]) == (500, SORRY, "server_error")
    assert b"secret" not in reply.body
    assert eventually(lambda: server.log_lines(reason="ggml: secret /path at 0xdeadbeef"))


class BrokenBackend:
    """Yields `deltas`, and raises those that are exceptions."""

    def __init__(self, *deltas: Delta | Exception) -> None:
        self._deltas = deltas

    def __call__(self, _: TokenEngine) -> BrokenBackend:
        return self

    @property
    def card(self) -> ModelCard:
        return CARD

    @property
    def can_think(self) -> bool:
        return False

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def deltas(
        self, _request: ChatRequest, _caller: Caller, _tally: Tally | None = None
    ) -> AsyncGenerator[Delta]:
        for delta in self._deltas:
            if isinstance(delta, Exception):
                raise delta
            yield delta


USAGE = Usage(
    prompt_tokens=1,
    completion_tokens=1,
    total_tokens=2,
    prompt_tokens_details=PromptTokensDetails(),
    completion_tokens_details=CompletionTokensDetails(),
)


@pytest.mark.parametrize(
    "deltas",
    [
        (Opened(0), Text(0, "x"), ValueError("secret")),
        (Opened(0), Text(0, "x"), Closed(0, "stop")),
        (Opened(0), Text(0, "x"), Totals(USAGE)),
        (Opened(0), Text(1, "x")),
        (Opened(0), ServerError()),
    ],
    ids=["an exception", "no totals", "not closed", "an unknown choice", "an error of ours"],
)
def test_a_backend_that_breaks_its_promise_is_a_server_error(
    serve: Serve, deltas: tuple[Delta | Exception, ...]
) -> None:
    server = serve(backend=BrokenBackend(*deltas))
    reply = raw.send(server.port, raw.request("POST", CREATE, body=raw.chat()))
    assert (reply.status, reply.error["message"], reply.error["type"]) == (500, SORRY, "server_error")
    assert stream_body(server)[-2:] == [ERROR_EVENT, "[DONE]"]
    assert b"secret" not in reply.body
    request_id = reply.headers["x-request-id"]
    assert server.access_line(request_id)["outcome"] == "failed"
    errors = server.log_lines(level="error", request_id=request_id)
    if not isinstance(deltas[-1], ServerError):
        (error,) = errors
        assert "Traceback" in error["exception"]
        assert "\n" not in error["exception"]


@pytest.mark.parametrize("deltas", [(), (RuntimeError("secret"),)])
def test_nothing_at_all_is_an_ordinary_error(serve: Serve, deltas: tuple[Delta | Exception, ...]) -> None:
    server = serve(backend=BrokenBackend(*deltas))
    for stream in (False, True):
        reply = raw.send(server.port, raw.request("POST", CREATE, body=raw.chat(stream=stream)))
        assert (reply.status, reply.error["message"]) == (500, SORRY)
