"""Grammars that nobody has seen before are compiled beside 7 streams: what the others notice of the compiling alone."""

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
    n_others, n_grammars = session.pick((7, 12), (3, 3))
    numbers = iter(range(90_001, 99_991, 2))
    with completionist(session.options, streams=n_others + 1, context_tokens=_CELLS) as server:

        def among(divisors: list[int]) -> Sample:
            return _look(server.run([*_newcomers(session, divisors), *_others(n_others)]))

        _compiled(server, _KNOWN)
        pairs = session.pairs(
            lambda: among([next(numbers) for _ in range(n_grammars)]),
            lambda: among([_KNOWN] * n_grammars),
        )
    session.ratio("others' p95 inter-token time: new grammars against a known one", pairs, "p95", at_most(1.2))
    session.value("time to first token of a request with a new grammar", "ms", [a["ttft_ms"] for a, _ in pairs])
    session.value("with the known one", "ms", [b["ttft_ms"] for _, b in pairs])
    session.note(f"{n_grammars} in a row, one a second; every prompt is new, so both sides compute as many")


def _compiled(server: Server, divisor: int) -> None:
    server.run([Ask(messages=chat("A number, please."), max_tokens=4, fields=_format(divisor))])


def _others(n: int) -> list[Ask]:
    return [Ask(messages=program(10 + stream), max_tokens=1500, is_background=True) for stream in range(n)]


_seeds = iter(range(1_000_000))


def _newcomers(session: Session, divisors: list[int]) -> list[Ask]:
    arrive_s = session.pick(_ARRIVE_S, 15.0)
    return [
        Ask(
            messages=chat("A number, please.", system=words(20, seed=next(_seeds))),
            max_tokens=2,
            after_s=arrive_s + i * _EVERY_S,
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
        "ttft_ms": 1000 * percentile([answer.ttft_s for answer in newcomers], 0.5),
    }


if __name__ == "__main__":
    main("compiling", TITLE, measure)
