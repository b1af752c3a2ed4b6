"""Rows 52 and 56: an engine that is killed, and a server that is told to stop."""

from __future__ import annotations

import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import psutil
import pytest

from completionist.settings import ServerSettings
from tests.abuse.conftest import MODEL_SETTINGS
from tests.abuse.invariants import CREATE, NEVER_END, Abuse, invariants_of
from tests.abuse.served import Served, serving_model
from tests.support import raw
from tests.support.server import eventually

KILLS_OF_A_LOOP = 3


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A server that may be broken."""
    settings = MODEL_SETTINGS.model_copy(update={"server": ServerSettings(port=0, drain_timeout_s=60)})
    with serving_model(settings, tmp_path / "server") as served:
        yield served


def begin(
    abuse: Abuse, stack: ExitStack, n: int, max_tokens: int, *, stream: bool
) -> list[tuple[socket.socket, bytes]]:
    """Requests under way: their connections, and what has come of those that stream."""
    body = abuse.body(stream=stream, max_completion_tokens=max_tokens, logit_bias=NEVER_END)
    sockets = [stack.enter_context(raw.connection(abuse.port)) for _ in range(n)]
    for sock in sockets:
        sock.sendall(abuse.request("POST", CREATE, "Connection: close", body=body))
    return [(sock, sock.recv(65536) if stream else b"") for sock in sockets]


def rest(begun: list[tuple[socket.socket, bytes]]) -> list[bytes]:
    """All of each answer."""
    return [received + raw.read_to_end(sock) for sock, received in begun]


def is_ready(abuse: Abuse) -> bool:
    return abuse.get("/health/ready", key=None).status == 200


def kill(worker: psutil.Process) -> None:
    worker.kill()
    worker.wait(timeout=30)


def test_row_52_a_killed_engine(served: Served) -> None:
    with invariants_of(served) as abuse, ExitStack() as stack:
        abuse.is_fault_ours = True
        first = served.engine
        assert first is not None
        streams = begin(abuse, stack, 10, 200, stream=True)
        plain = begin(abuse, stack, 3, 200, stream=False)
        eventually(lambda: served.metric("num_requests_waiting") > 0)
        kill(first)
        for received in rest(streams):
            *chunks, error, done = abuse.events(received)
            assert error.startswith('{"error":{"message":"The server had an error while processing your request.')
            assert done == "[DONE]"
            assert not [chunk for chunk in chunks if chunk.startswith('{"error"') or '"finish_reason":"' in chunk]
        for received in rest(plain):
            lost = abuse.keep(raw.parsed(received))
            assert (lost.status, lost.headers["x-should-retry"]) in {(500, "true"), (503, "true")}
        _check_refused_until_it_is_back(abuse)
        assert served.engine is not None
        assert served.engine.pid != first.pid


def test_row_52_an_engine_that_is_killed_at_every_start(served: Served) -> None:
    """Restarts back off: each pause is twice the one before, from the second on."""
    with invariants_of(served) as abuse:
        abuse.is_fault_ours = True
        for n in range(1, KILLS_OF_A_LOOP + 1):
            worker = eventually(lambda: served.engine)
            assert worker is not None
            kill(worker)
            _check_down(abuse)
            eventually(partial(_has_paused, served, n))
        assert _pauses_s(served) == [0.0, 0.5, 1.0]
        _check_refused_until_it_is_back(abuse)


def _has_paused(served: Served, n_times: int) -> bool:
    return len(_pauses_s(served)) == n_times


def _check_down(abuse: Abuse) -> None:
    """The process lives, is not ready, and says when to come again."""
    assert abuse.get("/health/live", key=None).status == 200
    eventually(lambda: not is_ready(abuse))
    refused = abuse.create()
    assert (refused.status, refused.error["code"]) == (503, "server_is_overloaded")
    assert 1 <= int(refused.headers["retry-after"]) <= 120


def _check_refused_until_it_is_back(abuse: Abuse) -> None:
    while not is_ready(abuse):
        assert abuse.get("/health/live", key=None).status == 200
        answer = abuse.create()
        assert answer.status in {200, 503}, answer  # 200: it has just come back
        time.sleep(0.05)
    assert abuse.create().status == 200


def _pauses_s(served: Served) -> list[float]:
    said = [re.search(r"starting another in ([0-9.]+) s", line["event"]) for line in served.log_lines()]
    return [float(pause[1]) for pause in said if pause]


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.large)])
def test_row_56_streams_finish_and_the_engine_goes_too(served: Served, number: signal.Signals) -> None:
    abuse, everyone = Abuse(served), served.api.children(recursive=True)
    with ExitStack() as stack:
        streams = begin(abuse, stack, 5, 40, stream=True)
        idle = stack.enter_context(raw.connection(served.port))
        idle.sendall(raw.request("GET", "/health/ready"))
        assert raw.read_reply(idle).status == 200
        served.process.send_signal(number)
        eventually(lambda: raw.is_refused(served.port))
        idle.sendall(raw.request("GET", "/health/ready"))
        not_ready = abuse.keep(raw.read_reply(idle))
        assert (not_ready.status, not_ready.headers["retry-after"]) == (503, "1")
        for received in rest(streams):
            events = abuse.events(received)
            assert events[-1] == "[DONE]"
            assert '"finish_reason":"length"' in events[-2]
    assert served.process.wait(timeout=30) == 0
    _check_gone(served, everyone)


def test_row_56_a_second_signal_cuts_off(served: Served) -> None:
    abuse, everyone = Abuse(served), served.api.children(recursive=True)
    with ExitStack() as stack:
        streams = begin(abuse, stack, 5, 200, stream=True)
        served.process.send_signal(signal.SIGTERM)
        eventually(lambda: raw.is_refused(served.port))
        served.process.send_signal(signal.SIGTERM)
        for received in rest(streams):
            *_, error, done = abuse.events(received)
            assert error.startswith('{"error":{"message":"The server is shutting down')
            assert done == "[DONE]"
    assert served.process.wait(timeout=30) not in {0, -signal.SIGTERM}
    _check_gone(served, everyone)


def _check_gone(served: Served, everyone: list[psutil.Process]) -> None:
    assert len(everyone) >= 2  # the engine and the renderer, at least
    eventually(lambda: not any(each.is_running() for each in everyone))
    assert not served.log_lines(level="error")
