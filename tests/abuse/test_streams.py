"""Rows 48 to 50: clients that leave, clients that do not read, and clients that flood."""

from __future__ import annotations

import socket
import threading
from contextlib import ExitStack

import pytest

from tests.abuse.clients import flood, unread_streams
from tests.abuse.conftest import CONTEXT_TOKENS, N_STREAMS
from tests.abuse.invariants import CHEAP_S, CREATE, FLOOD_CONCURRENT, FLOOD_KEY, KEY, NEVER_END, OTHER_KEY, Abuse
from tests.abuse.served import watch_peak
from tests.support import raw
from tests.support.server import eventually


def begin(abuse: Abuse, stack: ExitStack, *, key: str = KEY, **fields: object) -> socket.socket:
    """Send a request that lasts, on a connection that ends with `stack`."""
    long = {"max_completion_tokens": CONTEXT_TOKENS, "logit_bias": NEVER_END, **fields}
    sock = stack.enter_context(raw.connection(abuse.port))
    sock.sendall(abuse.request("POST", CREATE, body=abuse.body(**long), key=key))
    return sock


def fill_streams(abuse: Abuse, stack: ExitStack, key: str = KEY) -> None:
    """Two keys hold all streams: the last one would be kept for the other while it may ask again."""
    begin(abuse, stack, stream=True, key=OTHER_KEY)
    for _ in range(N_STREAMS - 1):
        begin(abuse, stack, stream=True, key=key)


def counts(abuse: Abuse) -> tuple[float, float]:
    """Cancelled requests and finished choices."""
    return abuse.served.metric("requests_cancelled_total"), abuse.served.metric("request_success_total")


def check_freed(abuse: Abuse, before: tuple[float, float], n: int) -> None:
    """`n` requests ended as cancelled, none of them was finished, and the engine has nothing left to do."""
    eventually(lambda: abuse.served.metric("num_requests_running") == abuse.served.metric("num_requests_waiting") == 0)
    eventually(lambda: counts(abuse) == (before[0] + n, before[1]))


@pytest.mark.parametrize("stream", [True, False])
def test_row_48_leaving_while_it_is_answered(abuse: Abuse, stream: bool) -> None:
    """What is done for the client after it left is less than a quarter of its answer."""
    quarter_s = abuse.cpu_s(lambda: abuse.create(max_completion_tokens=CONTEXT_TOKENS // 5, logit_bias=NEVER_END), n=1)
    before = counts(abuse)
    with ExitStack() as stack:
        sock = begin(abuse, stack, stream=stream)
        eventually(lambda: abuse.served.metric("num_requests_running") == 1)
        if stream:
            abuse.keep(raw.read_head(sock))
        left_s = abuse.served.cpu_s()
    check_freed(abuse, before, 1)
    assert abuse.served.cpu_s() - left_s < quarter_s


def test_row_48_leaving_the_queue(abuse: Abuse) -> None:
    before = counts(abuse)
    with ExitStack() as running:
        fill_streams(abuse, running)
        eventually(lambda: abuse.served.metric("num_requests_running") >= N_STREAMS)
        n_waiting = abuse.served.metric("num_requests_waiting")
        with ExitStack() as queued:
            for stream in (True, False, True, False):
                begin(abuse, queued, stream=stream)
            eventually(lambda: abuse.served.metric("num_requests_waiting") >= n_waiting + 4)
        eventually(lambda: abuse.served.metric("num_requests_waiting") <= n_waiting)
        assert abuse.served.metric("num_requests_running") >= N_STREAMS
    check_freed(abuse, before, N_STREAMS + 4)


def test_row_48_leaving_while_the_prompt_is_read(abuse: Abuse) -> None:
    before = counts(abuse)
    with ExitStack() as stack:
        for i in range(2 * N_STREAMS):
            text = f"{i}" + " a" * (CONTEXT_TOKENS // 2 - 60)  # each its own: none is found in the cache
            begin(abuse, stack, stream=i % 2 == 0, messages=[{"role": "user", "content": text}])
        eventually(lambda: abuse.served.metric("num_requests_running") > 0)
    check_freed(abuse, before, 2 * N_STREAMS)


@pytest.mark.parametrize("n_times", [1, pytest.param(8, marks=pytest.mark.large)])
def test_row_49_clients_that_never_read(limited: Abuse, n_times: int) -> None:
    """All are closed at the send deadline, little is kept for each of them, and a client that reads gets everything."""
    n_clients = 50
    growth_bytes = watch_peak(limited.served.api)
    for _ in range(n_times):
        with unread_streams(limited, n_clients):
            events = limited.stream(max_completion_tokens=20)
            assert events[-1] == "[DONE]"
            assert sum('"content":"x' in event for event in events) == 20
    assert growth_bytes() < n_clients * 256 * 2**10


def test_row_50_a_key_that_floods_beside_another_one(abuse: Abuse) -> None:
    """What it may have under way is answered, the rest is refused, and the other key is served meanwhile. How fast that is
    depends on the machine: bench/flood.py measures it."""
    flooding = threading.Thread(target=lambda: replies.extend(flood(abuse, 20 * N_STREAMS)))
    replies: list[raw.Reply] = []
    flooding.start()
    for _ in range(3):
        assert abuse.create(key=OTHER_KEY).status == 200
    flooding.join()
    refused = [reply for reply in replies if reply.status != 200]
    assert len(replies) - len(refused) >= FLOOD_CONCURRENT
    assert refused
    for reply in refused:
        assert (reply.status, reply.error["type"], reply.error["code"]) == (429, "requests", "rate_limit_exceeded")
        assert reply.headers["retry-after"] == "1"


def test_row_50_a_refusal_is_cheap(abuse: Abuse) -> None:
    with ExitStack() as stack:
        fill_streams(abuse, stack, key=FLOOD_KEY)
        for _ in range(FLOOD_CONCURRENT - (N_STREAMS - 1)):
            begin(abuse, stack, stream=True, key=FLOOD_KEY)
        eventually(lambda: abuse.served.metric("num_requests_running") == N_STREAMS)
        eventually(lambda: abuse.served.metric("num_requests_waiting") == FLOOD_CONCURRENT - (N_STREAMS - 1))
        api = abuse.served.api.cpu_times()
        statuses = {abuse.create(key=FLOOD_KEY).status for _ in range(20)}
        spent = abuse.served.api.cpu_times()
    assert statuses == {429}
    assert (spent.user + spent.system - api.user - api.system) / 20 < CHEAP_S
