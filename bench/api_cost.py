"""What a streamed chunk costs the API process, and what a request does: its CPU time with a script for a model.

The script plays in a worker process of its own, so nothing of it is in the figures. Short and long answers are asked
for in turn: what a long one costs more is the price of its chunks, what is left of a short one is the request's. Beside
it the same is asked of a bare server, which does no more than read the worker's frames and write bytes.
"""

from __future__ import annotations

from bench.client import Ask
from bench.harness import Sample, Session, main
from bench.prompts import chat
from bench.results import Target, at_most, counted
from bench.servers import Server, bare_server, scripted

TITLE = "CPU of the API process per streamed chunk"

_SHORT_TOKENS = 20


def measure(session: Session) -> None:
    with scripted() as ours, bare_server() as bare:
        for n_streams, target in ((64, at_most(60)), (1, at_most(300))):
            _cost(session, ours, bare, n_streams, target)


def _cost(session: Session, ours: Server, bare: Server, n_streams: int, target: Target) -> None:
    long_tokens = session.pick(220, 40)

    def cost_of(server: Server) -> Sample:
        short_us, n_short = _cpu_us(server, n_streams, _SHORT_TOKENS)
        long_us, n_long = _cpu_us(server, n_streams, long_tokens)
        chunk_us = (long_us - short_us) / (n_long - n_short)
        return {"chunk": chunk_us, "request": (short_us - chunk_us * n_short) / n_streams}

    pairs = session.pairs(lambda: cost_of(ours), lambda: cost_of(bare))
    streams = counted(n_streams, "stream")
    session.value(f"{streams}, each chunk", "µs", [ours["chunk"] for ours, _ in pairs], target)
    session.value(f"{streams}, each chunk, bare server", "µs", [bare["chunk"] for _, bare in pairs])
    session.value(f"{streams}, each request beside its chunks", "µs", [ours["request"] for ours, _ in pairs])


def _cpu_us(server: Server, n_streams: int, n_tokens: int) -> tuple[float, int]:
    """Of `n_streams` requests at once, with the chunks of text that all of them got."""
    began_s = server.api_cpu_s()
    load = server.run([Ask(messages=chat("Say something."), max_tokens=n_tokens)] * n_streams)
    used_us = (server.api_cpu_s() - began_s) * 1e6
    return used_us, sum(len(answer.pieces) for answer in load.answers)


if __name__ == "__main__":
    main("api_cost", TITLE, measure)
