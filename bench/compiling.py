"""Grammars that nobody has seen before are compiled beside 7 streams: what the others notice of the compiling alone.

The reference has as many newcomers in as long a time, with a grammar that is known: the others' answers grow meanwhile, and
with them their steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.client import Ask, Load
from bench.harness import Sample, Session, main
from bench.prompts import chat, program, words
from bench.results import at_most
from bench.servers import Server, completionist
from bench.timing import gaps_s, percentile

TITLE = "Grammars compiled beside 7 streams"
_CELLS = 2048
_ARRIVE_S = 4.0
"""The others are all generating by then."""
_EVERY_S = 1.0
_KNOWN = 89_999
"""Of the grammar that is compiled once, before anything is measured."""


def measure(session: Session) -> None:
    n_others, n_grammars = session.pick((7, 6), (3, 3))
    numbers = iter(range(90_001, 99_991, 2))
    took_s = [0.0]
    with completionist(session.options, streams=n_others + 1, context_tokens=_CELLS) as server:

        def among(divisors: list[int], every_s: float) -> Sample:
            newcomers = _newcomers(divisors, session.pick(_ARRIVE_S, 15.0), every_s)
            sample = _look(server.run([*newcomers, *_others(n_others)]))
            took_s.append(sample["took_s"])
            return sample

        _compiled(server, _KNOWN)
        pairs = session.pairs(
            lambda: among([next(numbers) for _ in range(n_grammars)], _EVERY_S),
            lambda: among([_KNOWN] * n_grammars, took_s[-1] / n_grammars),
            warm_up=False,
        )
    session.ratio("others' p95 inter-token time: new grammars against a known one", pairs, "p95", at_most(1.2))
    session.value("time to first token of a request with a new grammar", "ms", [a["ttft_ms"] for a, _ in pairs])
    session.value("with the known one", "ms", [b["ttft_ms"] for _, b in pairs])
    session.note(f"{n_grammars} in a row, one a second; every prompt is new, so both sides compute as many")
    session.note("a known one as often as makes both sides take as long")


def _compiled(server: Server, divisor: int) -> None:
    server.run([Ask(messages=chat("A number, please."), max_tokens=4, fields=_format(divisor))])


def _others(n: int) -> list[Ask]:
    return [Ask(messages=program(10 + stream), max_tokens=1500, is_background=True) for stream in range(n)]


_seeds = iter(range(1_000_000))


def _newcomers(divisors: list[int], arrive_s: float, every_s: float) -> list[Ask]:
    return [
        Ask(
            messages=chat("A number, please.", system=words(20, seed=next(_seeds))),
            max_tokens=2,
            after_s=arrive_s + i * every_s,
            fields=_format(divisor),
        )
        for i, divisor in enumerate(divisors)
    ]


def _format(divisor: int) -> Mapping[str, Any]:
    """A short schema that takes long to compile: an automaton with as many states as the divisor."""
    number = {"type": "integer", "multipleOf": divisor, "minimum": 0}
    schema = {"type": "object", "properties": {"number": number}, "required": ["number"], "additionalProperties": False}
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": True}}}


def _look(load: Load) -> Sample:
    newcomers = [answer for answer in load.answers if not answer.has_left]
    others = [answer for answer in load.answers if answer.has_left]
    began_s, ended_s = min(answer.sent_s for answer in newcomers), max(answer.ended_s for answer in newcomers)
    return {
        "p95": percentile(gaps_s(others, began_s, ended_s), 0.95),
        "took_s": ended_s - began_s,
        "ttft_ms": 1000 * percentile([answer.ttft_s for answer in newcomers], 0.5),
    }


if __name__ == "__main__":
    main("compiling", TITLE, measure)
