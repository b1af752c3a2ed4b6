"""16 requests that come at once and share a system prompt of 1,000 tokens which no one has seen before."""

from __future__ import annotations

from bench.client import Ask
from bench.harness import Sample, Session, main
from bench.prompts import chat, words
from bench.results import at_most
from bench.servers import Server, completionist, peer

TITLE = "16 requests sharing a cold 1,000-token system prompt"
_CELLS = 2048
_OUT_TOKENS = 16


def measure(session: Session) -> None:
    n_requests, n_tokens = session.pick((16, 1000), (3, 200))
    with (
        completionist(session.options, streams=n_requests, context_tokens=_CELLS) as ours,
        peer(session.options, slots=n_requests, context_tokens=_CELLS) as theirs,
    ):
        seeds = {"ours": 0, "theirs": 0}

        def run(who: str, server: Server) -> Sample:
            seeds[who] += 1  # the same prompt for both, and a new one every time
            return _burst(server, words(n_tokens, seed=seeds[who]), n_requests)

        pairs = session.pairs(lambda: run("ours", ours), lambda: run("theirs", theirs), warm_up=False)
    session.ratio("wall time against the peer", pairs, "wall", at_most(0.12))
    session.value("prompt tokens evaluated", "", [a["evaluated"] for a, _ in pairs])
    session.value("prompt tokens evaluated by the peer", "", [b["evaluated"] for _, b in pairs])


def _burst(server: Server, system: str, n_requests: int) -> Sample:
    asks = [
        Ask(messages=chat(f"Question {10 + number}: go on with this text.", system), max_tokens=_OUT_TOKENS)
        for number in range(n_requests)
    ]
    load = server.run(asks)
    return {
        "wall": load.wall_s,
        "evaluated": sum(answer.prompt_tokens - answer.cached_tokens for answer in load.answers),
    }


if __name__ == "__main__":
    main("shared_prefix", TITLE, measure)
