"""What a streamed chunk costs the API process: its CPU time with the scripted engine, at 64 streams and at one."""

from __future__ import annotations

from bench.client import Ask
from bench.harness import Sample, Session, main
from bench.prompts import chat
from bench.results import Target, at_most
from bench.servers import Server, scripted

TITLE = "CPU of the API process per streamed chunk"
_TICK_S = 0.01
"""Resolution of a process's CPU time: a run has to use many of them."""


def measure(session: Session) -> None:
    with scripted() as server:
        for n_streams, target in ((64, at_most(60)), (1, at_most(300))):
            _cost(session, server, n_streams, target)


def _cost(session: Session, server: Server, n_streams: int, target: Target) -> None:
    rounds = session.pick(2560, 256) // n_streams
    asks = [Ask(messages=chat("Say something."), max_tokens=1000)] * n_streams

    def run() -> Sample:
        began_s, n_chunks, n_requests = server.api_cpu_s(), 0, 0
        for _ in range(rounds):
            load = server.run(asks)
            n_requests += len(load.answers)
            n_chunks += sum(len(answer.pieces) for answer in load.answers)
        used_s = server.api_cpu_s() - began_s
        return {"µs": used_s / n_chunks * 1e6, "chunks": n_chunks / n_requests, "precise": used_s > 20 * _TICK_S}

    run()
    samples = session.repeat(run)
    session.value(f"{n_streams} streams, whole requests", "µs", [sample["µs"] for sample in samples], target)
    session.note(f"{n_streams} streams: {samples[0]['chunks']:.0f} chunks a request, whose own cost is in the figure")
    if not all(sample["precise"] for sample in samples):
        session.note(f"{n_streams} streams: too short a run for the clock of processes")


if __name__ == "__main__":
    main("api_cost", TITLE, measure)
