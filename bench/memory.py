"""What the engine worker holds beyond the library's own needs: weights, cells and compute buffers, which the bare loop with
the same context holds too."""

from __future__ import annotations

from bench.bare_process import bare_process
from bench.client import Ask
from bench.harness import Session, main
from bench.prompts import chat, program, words
from bench.results import at_most
from bench.servers import Server, completionist

TITLE = "Memory of the worker and of the API process"
_STREAMS = 16
_CELLS = 2048
_MB = 10**6
_CACHE_MB = 100
"""Budget of the prefix cache, which the work fills."""


def measure(session: Session) -> None:
    session.measure(lambda: _look(session))


def _look(session: Session) -> dict[str, float]:
    with bare_process(session.options) as bare:
        bare.open(_STREAMS, _CELLS)
        bare.generate([bare.prompt(program(10 + stream)) for stream in range(_STREAMS)], 2)
        bare_mb = bare.resident_bytes() / _MB
    with completionist(session.options, streams=_STREAMS, context_tokens=_CELLS, cache_bytes=_CACHE_MB * _MB) as server:
        idle_mb = _worker_mb(server)
        _work(session, server)
        worker_mb, api_mb = _worker_mb(server), server.process.memory_info().rss / _MB
    session.value(
        "worker after work, beyond the bare loop with the same context and the cache's budget",
        "MB",
        [worker_mb - bare_mb - _CACHE_MB],
        at_most(100),
    )
    session.value("worker when ready, beyond the bare loop", "MB", [idle_mb - bare_mb])
    session.value("API process after work", "MB", [api_mb])
    session.note(f"bare loop {bare_mb:.0f} MB, worker {worker_mb:.0f} MB, cache budget {_CACHE_MB} MB")
    return {}


def _work(session: Session, server: Server) -> None:
    for round_ in range(session.pick(2, 1)):
        asks = [
            Ask(messages=chat(words(300, seed=100 * round_ + number)), max_tokens=16, temperature=1)
            for number in range(session.pick(_STREAMS, 2))
        ]
        server.run(asks)


def _worker_mb(server: Server) -> float:
    return max(worker.memory_info().rss for worker in server.workers()) / _MB


if __name__ == "__main__":
    main("memory", TITLE, measure)
