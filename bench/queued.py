"""64 short requests at once: how long the unluckiest wait for their first token, at the same total speed."""

from __future__ import annotations

from bench.client import Ask
from bench.harness import Sample, Session, main
from bench.prompts import chat, words
from bench.results import at_least, at_most
from bench.servers import Server, completionist, peer
from bench.timing import percentile

TITLE = "64 short requests queued"
_SLOTS = 16
_CELLS = 512
_IN_TOKENS = 30
_OUT_TOKENS = 16


def measure(session: Session) -> None:
    n_requests = session.pick(64, 6)
    with (
        completionist(session.options, streams=None, context_tokens=None) as ours,
        peer(session.options, slots=_SLOTS, context_tokens=_CELLS) as theirs,
    ):
        seeds = {"ours": 0, "theirs": 0}

        def run(who: str, server: Server) -> Sample:
            seeds[who] += 100
            return _queue(server, n_requests, seeds[who])

        pairs = session.pairs(lambda: run("ours", ours), lambda: run("theirs", theirs), warm_up=False)
    session.ratio("p99 time to first token against the peer", pairs, "p99", at_most(0.7))
    session.ratio("tokens/s against the peer", pairs, "rate", at_least(0.95))
    session.ratio("output tokens against the peer", pairs, "tokens")


def _queue(server: Server, n_requests: int, seed: int) -> Sample:
    asks = [
        Ask(messages=chat(f"Tell a long story about {words(_IN_TOKENS, seed + number)}."), max_tokens=_OUT_TOKENS)
        for number in range(n_requests)
    ]
    load = server.run(asks)
    return {
        "p99": percentile([answer.ttft_s for answer in load.answers], 0.99),
        "rate": load.completion_tokens / load.wall_s,
        "tokens": load.completion_tokens,
    }


if __name__ == "__main__":
    main("queued", TITLE, measure)
