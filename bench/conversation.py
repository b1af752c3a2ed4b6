"""A conversation of 8 turns: how many tokens of its prompt each turn evaluates again, by the usage it reports."""

from __future__ import annotations

from bench.client import Ask
from bench.harness import Sample, Session, main
from bench.prompts import SYSTEM, Message, words
from bench.results import at_most
from bench.servers import Server, completionist, peer

TITLE = "A conversation of 8 turns"
_CELLS = 4096
_TURN_TOKENS = 60
_OUT_TOKENS = 48


def measure(session: Session) -> None:
    sizes = {"context_tokens": _CELLS}
    with completionist(session.options, streams=4, **sizes) as ours, peer(session.options, slots=4, **sizes) as theirs:
        seeds = {"ours": 0, "theirs": 0}

        def run(who: str, server: Server) -> Sample:
            seeds[who] += 1000
            return _talk(server, session.pick(8, 3), seeds[who])

        pairs = session.pairs(lambda: run("ours", ours), lambda: run("theirs", theirs), warm_up=False)
    session.value("tokens evaluated again, worst turn", "", [a["again"] for a, _ in pairs], at_most(64))
    session.value("the peer's", "", [b["again"] for _, b in pairs])
    session.ratio("wall time against the peer", pairs, "wall")
    session.ratio_within("time to first token, second turn / first", [a for a, _ in pairs], "second", "first")


def _talk(server: Server, n_turns: int, seed: int) -> Sample:
    """`again`: evaluated tokens beyond those that the conversation grew by, of the worst turn after the first."""
    messages: list[Message] = [Message("system", f"{SYSTEM} {words(500, seed)}")]
    known_tokens, worst, wall_s, ttfts_s = 0, 0, 0.0, []
    for turn in range(n_turns):
        messages.append(Message("user", words(_TURN_TOKENS, seed + 1 + turn)))
        load = server.run([Ask(messages=tuple(messages), max_tokens=_OUT_TOKENS)])
        answer = load.answers[0]
        grown_by = answer.prompt_tokens - known_tokens
        if turn > 0:
            worst = max(worst, answer.prompt_tokens - answer.cached_tokens - grown_by)
        known_tokens = answer.prompt_tokens + answer.completion_tokens
        messages.append(Message("assistant", answer.text))
        wall_s += load.wall_s
        ttfts_s.append(answer.ttft_s)
    return {"again": worst, "wall": wall_s, "first": ttfts_s[0], "second": ttfts_s[1]}


if __name__ == "__main__":
    main("conversation", TITLE, measure)
