"""What a streamed chunk costs the API process: its CPU time with the scripted engine, at 64 streams and at one."""

from __future__ import annotations

from bench.client import Ask
from bench.harness import Sample, Session, main
from bench.prompts import chat
from bench.results import Target, at_most, counted
from bench.servers import Server, scripted

TITLE = "CPU of the API process per streamed chunk"


def measure(session: Session) -> None:
    with scripted() as server:
        for n_streams, target in ((64, at_most(60)), (1, at_most(300))):
            _cost(session, server, n_streams, target)


def _cost(session: Session, server: Server, n_streams: int, target: Target) -> None:
    """Whole requests: what receiving, checking and ending one costs is shared out among its chunks."""
    n_rounds = session.pick(2, 1)
    asks = [Ask(messages=chat("Say something."), max_tokens=1000)] * n_streams

    def run() -> Sample:
        began_s = server.api_cpu_s()
        loads = [server.run(asks) for _ in range(n_rounds)]
        used_s = server.api_cpu_s() - began_s
        chunks = [len(answer.pieces) for load in loads for answer in load.answers]
        return {"µs": used_s / sum(chunks) * 1e6, "chunks": sum(chunks) / len(chunks)}

    run()
    samples = session.repeat(run)
    session.value(counted(n_streams, "stream"), "µs", [sample["µs"] for sample in samples], target)
    session.note(
        f"{counted(n_streams, 'stream')}: {samples[0]['chunks']:.0f} chunks a request, whose own cost is in the figure"
    )


if __name__ == "__main__":
    main("api_cost", TITLE, measure)
