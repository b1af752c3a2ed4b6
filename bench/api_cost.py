"""What a streamed chunk costs the API process, and what a request does: its CPU time with a script for a model.

The script plays in a worker process of its own, so nothing of it is in the figures. Short and long answers are asked
for in turn: what a long one costs more is the price of its chunks, what is left of a short one is the request's.
"""

from __future__ import annotations

from bench.client import Ask
from bench.harness import Sample, Session, main
from bench.prompts import chat
from bench.results import Target, at_most, counted
from bench.servers import Server, scripted

TITLE = "CPU of the API process per streamed chunk"

_SHORT_TOKENS = 20


def measure(session: Session) -> None:
    with scripted() as server:
        for n_streams, target in ((64, at_most(60)), (1, at_most(300))):
            _cost(session, server, n_streams, target)


def _cost(session: Session, server: Server, n_streams: int, target: Target) -> None:
    long_tokens = session.pick(320, 40)

    def run() -> Sample:
        short_us, n_short = _cpu_us(server, n_streams, _SHORT_TOKENS)
        long_us, n_long = _cpu_us(server, n_streams, long_tokens)
        chunk_us = (long_us - short_us) / (n_long - n_short)
        return {"chunk": chunk_us, "request": (short_us - chunk_us * n_short) / n_streams}

    run()
    samples = session.repeat(run)
    streams = counted(n_streams, "stream")
    session.value(f"{streams}, each chunk", "µs", [sample["chunk"] for sample in samples], target)
    session.value(f"{streams}, each request beside them", "µs", [sample["request"] for sample in samples])


def _cpu_us(server: Server, n_streams: int, n_tokens: int) -> tuple[float, int]:
    """Of `n_streams` requests at once, with the chunks of text that all of them got."""
    began_s = server.api_cpu_s()
    load = server.run([Ask(messages=chat("Say something."), max_tokens=n_tokens)] * n_streams)
    used_us = (server.api_cpu_s() - began_s) * 1e6
    return used_us, sum(len(answer.pieces) for answer in load.answers)


if __name__ == "__main__":
    main("api_cost", TITLE, measure)
