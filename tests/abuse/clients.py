"""Many clients at once, and what they do to a server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from tests.abuse.invariants import CREATE, Abuse
from tests.support import raw
from tests.support.server import eventually


def together(*acts: Callable[[], object]) -> None:
    """All of `acts` at once, each on a thread of its own."""
    threads = [threading.Thread(target=act) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@contextmanager
def unread_streams(abuse: Abuse, n: int) -> Iterator[None]:
    """`n` streams of which nothing is read; at the end the server must have closed them all."""
    n_before = abuse.served.metric("connections_closed_unread_total")
    endless = abuse.body(stream=True, max_completion_tokens=1000)
    with ExitStack() as stack:
        for _ in range(n):
            sock = stack.enter_context(raw.connection(abuse.port, receive_buffer_bytes=4096))
            sock.sendall(abuse.request("POST", CREATE, body=endless))
        eventually(lambda: abuse.served.metric("num_requests_running") > 0)
        yield
        eventually(lambda: abuse.served.metric("connections_closed_unread_total") == n_before + n)


def come_and_go(abuse: Abuse, n: int) -> None:
    """`n` clients that ask and leave at once."""
    with ExitStack() as stack:
        for _ in range(n):
            sock = stack.enter_context(raw.connection(abuse.port))
            sock.sendall(abuse.request("POST", CREATE, body=abuse.body()))
