"""What a worker sends of a step that is several calls to the library."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import cast

import msgspec
import pytest

from completionist.engine.base import End, TokenEvent
from completionist.engine.frames import Report, Splitter, Stats, Step
from completionist.engine.llama.loop import Engine
from completionist.engine.llama.worker import Channel, Rests, SupervisorGone, serve


class TwoCalls:
    """An engine whose one step ends a request in either call."""

    must_wait = False

    def __init__(self) -> None:
        self._events: list[tuple[int, TokenEvent]] = []
        self._n_steps = 0

    def rouse_by(self, wake: Callable[[], None]) -> None:
        """Nothing goes on beside the steps."""

    def step(self, report: Callable[[], None]) -> None:
        if self._n_steps:
            raise SupervisorGone
        self._n_steps += 1
        self._events.append((1, End(0, "stopped")))
        report()
        self._events.append((2, End(0, "stopped")))

    def take_events(self) -> tuple[tuple[int, TokenEvent], ...]:
        events, self._events = tuple(self._events), []
        return events

    def stats(self) -> Stats:
        return Stats()


def test_what_a_call_brought_is_sent_before_the_next_one() -> None:
    workers, supervisors = socket.socketpair()
    channel = Channel(workers)
    with workers, supervisors, channel._alarm, channel._bell:
        with pytest.raises(SupervisorGone):
            serve(channel, cast("Engine", TwoCalls()), Rests(threads=1))
        bodies = list(Splitter().feed(supervisors.recv(1 << 16)))
    reports = [msgspec.msgpack.decode(body, type=Report) for body in bodies]
    ended = [[request_id for request_id, _ in report.events] for report in reports if isinstance(report, Step)]
    assert ended == [[1], [2]]
