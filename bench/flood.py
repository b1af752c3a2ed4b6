"""A key that floods the server, and another one that asks one thing at a time.

The reference is the same other key beside a first one that offers exactly the streams that are left, and no more.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.client import Answer, Ask, BrokenAnswer, Loop
from bench.harness import Sample, Session, main
from bench.prompts import chat, words
from bench.results import at_least, at_most
from bench.servers import Server, with_keys
from bench.timing import gaps_s, percentile

TITLE = "A key that floods, beside another one"
_STREAMS = 16
_CELLS = 512
_TIMES = 20
"""What the flood offers, in streams."""
_RAMP_S = 3.0
"""In which its clients come; what is asked before its end does not count."""
_IN_TOKENS = 30
_FLOOD_OUT_TOKENS = 64
_OTHER_OUT_TOKENS = 16
_SHORT_OUT_TOKENS = 4
"""Of either, in a short run: on a busy machine a token takes half a second beside a flood."""
_REFUSED_WITHIN_S = 0.05


def measure(session: Session) -> None:
    n_streams, times = session.pick((_STREAMS, _TIMES), (4, 3 * _TIMES))  # more than the queue holds, either way
    with with_keys(session.options, ("flood", "other"), streams=n_streams, context_tokens=_CELLS) as server:
        seeds = iter(range(0, 10**9, 10**6))

        def run(n_clients: int) -> Sample:
            n_out = session.pick((_FLOOD_OUT_TOKENS, _OTHER_OUT_TOKENS), (_SHORT_OUT_TOKENS, _SHORT_OUT_TOKENS))
            return _beside(server, n_clients, n_out, next(seeds), session.pick(60.0, 20.0))

        pairs = session.pairs(lambda: run(times * n_streams), lambda: run(n_streams - 1), warm_up=False)
    session.ratio("p95 time to first token of the other key", pairs, "ttft", at_most(1.3))
    session.ratio("p95 inter-token time of the other key", pairs, "gap", at_most(1.3))
    session.ratio("tokens/s of both", pairs, "rate", at_least(0.9))
    flooded = [flood for flood, _ in pairs]
    session.value("p95 time to a refusal", "s", [flood["refusal"] for flood in flooded], at_most(_REFUSED_WITHIN_S))
    session.value("answers that were neither whole nor refused", "", [flood["broken"] for flood in flooded], at_most(0))
    session.note(
        f"{times * n_streams} clients on {n_streams} streams; refused {sum(flood['refused'] for flood in flooded):,.0f} "
        f"times, the client took {max(flood['client'] for flood in flooded):.0%} of a core"
    )


def _beside(server: Server, n_clients: int, n_out: tuple[int, int], seed: int, duration_s: float) -> Sample:
    """What the other key gets beside `n_clients` of the first; `n_out`: tokens that the flood asks for, and the other key."""
    flood_tokens, other_tokens = n_out
    flood = [_asking("flood", flood_tokens, seed + 1000 * i, _RAMP_S * i / n_clients) for i in range(1, n_clients + 1)]
    other, *loads = server.run_loops([_asking("other", other_tokens, seed, 0.0), *flood], duration_s)
    counted_s = other.began_s + _RAMP_S
    answers = [answer for load in loads for answer in load.answers]
    everything = [answer for answer in (*other.answers, *answers) if answer.ended_s > counted_s]
    others = [answer for answer in other.answers if answer.is_whole and answer.sent_s > counted_s]
    if not others:
        raise BrokenAnswer(f"the other key got no whole answer in {duration_s:.0f} s: is the machine busy?")
    refusals = [answer.ended_s - answer.sent_s for answer in answers if answer.status in {429, 503}]
    return {
        "ttft": percentile([answer.ttft_s for answer in others], 0.95),
        "gap": percentile(gaps_s(others), 0.95),
        "rate": _n_pieces(everything, counted_s) / (other.ended_s - counted_s),
        "refusal": percentile(refusals or [0.0], 0.95),
        "refused": len(refusals),
        "broken": sum(not (one.is_whole or one.has_left or one.status in {429, 503}) for one in everything),
        "client": other.client_cpu_s / other.wall_s,
    }


def _asking(key: str, max_tokens: int, seed: int, after_s: float) -> Loop:
    """No two prompts are the same."""
    return lambda n: Ask(
        messages=chat(f"Tell a long story about {words(_IN_TOKENS, seed + n)}."),
        max_tokens=max_tokens,
        after_s=after_s,
        key=key,
    )


def _n_pieces(answers: Sequence[Answer], since_s: float) -> int:
    """Of answers that were left at the end too."""
    return sum(piece.at_s > since_s for answer in answers for piece in answer.pieces)


if __name__ == "__main__":
    main("flood", TITLE, measure)
