"""Requests that come and go, a third of them leaving in the middle: afterwards nothing of them may be left.

200 requests, or 10,000 with --long.
"""

from __future__ import annotations

import random
import re

import psutil

from bench.client import Ask
from bench.harness import Session, main
from bench.prompts import chat, words
from bench.results import at_most
from bench.servers import Server, completionist

TITLE = "Churn with cancellations"
_STREAMS = 16
_CELLS = 512
_AT_ONCE = 50
_MB = 10**6
_CACHE_MB = 20
"""Budget of the prefix cache, small enough to be full before the first look."""


def measure(session: Session) -> None:
    session.measure(lambda: _churn(session))


def _churn(session: Session) -> dict[str, float]:
    n_requests = session.pick(10_000 if session.options.is_long else 200, 50)
    with completionist(session.options, streams=_STREAMS, context_tokens=_CELLS, cache_bytes=_CACHE_MB * _MB) as server:
        for seed in range(-2, 1):
            _burst(server, seed, _AT_ONCE)
        before = _held(server)
        n_left = sum(_burst(server, seed, _AT_ONCE) for seed in range(1, 1 + n_requests // _AT_ONCE))
        after = _held(server)
        session.value("requests that still run or wait", "", [_underway(server)], at_most(0))
    for what in before:
        session.value(f"{what}, growth", "", [after[what] - before[what]])
    session.note(f"{n_requests} requests, {n_left} left in the middle")
    return {}


def _burst(server: Server, seed: int, n_requests: int) -> int:
    """Requests in the course of two seconds. Returns how many left early."""
    draw = random.Random(seed)  # noqa: S311 - a reproducible load
    asks = [
        Ask(
            messages=chat(words(draw.randint(5, 60), seed=draw.getrandbits(32))),
            max_tokens=draw.randint(2, 24),
            temperature=1,
            after_s=draw.uniform(0, 2),
            leaves_after=draw.randint(0, 8) if draw.random() < 1 / 3 else None,
        )
        for _ in range(n_requests)
    ]
    return sum(answer.has_left for answer in server.run(asks).answers)


def _held(server: Server) -> dict[str, float]:
    processes = {"API process": server.process, "worker": max(server.workers(), key=_resident)}
    held: dict[str, float] = {}
    for name, process in processes.items():
        held[f"{name}: MB"] = _resident(process) / _MB
        held[f"{name}: descriptors"] = process.num_fds()
        held[f"{name}: threads"] = process.num_threads()
    return held


def _resident(process: psutil.Process) -> int:
    return int(process.memory_info().rss)


def _underway(server: Server) -> float:
    """Running and waiting requests, as the metrics count them."""
    _, text = server.get("/metrics")
    counts = re.findall(r"^completionist_num_requests_(?:running|waiting)\{.*\} (\S+)$", text, re.MULTILINE)
    if len(counts) < 2:
        raise RuntimeError("the metrics do not say how many requests run and wait")
    return sum(map(float, counts))


if __name__ == "__main__":
    main("cancellations", TITLE, measure)
