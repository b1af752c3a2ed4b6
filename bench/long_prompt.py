"""A 4,000-token prompt arrives among 15 streams: what the others notice, and what it waits for itself."""

from __future__ import annotations

from bench.client import Ask, Load
from bench.harness import Sample, Session, main
from bench.prompts import chat, program, words
from bench.results import at_most
from bench.servers import Server, completionist
from bench.timing import gaps_s, percentile

TITLE = "A 4,000-token prompt among 15 streams"
_CELLS = 4608
_ARRIVES_S = 4.0
"""The others are all generating by then."""


def measure(session: Session) -> None:
    n_others, n_tokens = session.pick((15, 4000), (3, 500))
    with completionist(session.options, streams=n_others + 1, context_tokens=_CELLS) as server:
        _compare(session, server, n_others, n_tokens)


def _compare(session: Session, server: Server, n_others: int, n_tokens: int) -> None:
    seeds = iter(range(1000))
    others = [Ask(messages=program(10 + stream), max_tokens=2000, is_background=True) for stream in range(n_others)]

    server.run([Ask(messages=ask.messages, max_tokens=2) for ask in others])  # so that they start at once, by any model

    def newcomer(after_s: float) -> Ask:
        task = f"Tell a long story about {words(n_tokens, seed=next(seeds))}."  # words alone may get no answer at all
        return Ask(messages=chat(task), max_tokens=24, after_s=after_s)

    def among_others() -> Sample:
        return _look(server.run([newcomer(session.pick(_ARRIVES_S, 20.0)), *others]))

    def alone() -> Sample:
        return {"ttft": server.run([newcomer(0)]).answers[0].ttft_s}

    pairs = session.pairs(among_others, alone, warm_up=False)
    samples = [sample for sample, _ in pairs]
    session.ratio("its time to first token against an idle server's", pairs, "ttft", at_most(2.2))
    session.ratio_within("others' p95 inter-token time during its prefill", samples, "during", "before", at_most(2.5))
    session.ratio_within("others' p95 inter-token time afterwards", samples, "after", "before", at_most(1.7))
    session.note(f"{min(sample['still there'] for sample in samples):.0f} of {n_others} others stayed to the end")


def _look(load: Load) -> Sample:
    newcomer, others = load.answers[0], load.answers[1:]
    all_run_s = max(answer.pieces[0].at_s for answer in others)
    first_s, last_s = newcomer.pieces[0].at_s, newcomer.pieces[-1].at_s
    return {
        "ttft": newcomer.ttft_s,
        "before": percentile(gaps_s(others, all_run_s, newcomer.sent_s), 0.95),
        "during": percentile(gaps_s(others, newcomer.sent_s, first_s), 0.95),
        "after": percentile(gaps_s(others, first_s, last_s), 0.95),
        "still there": sum(answer.has_left for answer in others),
    }


if __name__ == "__main__":
    main("long_prompt", TITLE, measure)
