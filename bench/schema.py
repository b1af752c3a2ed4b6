"""Answers that must follow a JSON schema, 8 at a time: against the peer's, and against our own free text.

A prompt costs as much before a short answer as before a long one, and streams stand empty at the end of a run where answers
differ in length. So free text has as many tokens as the answers by the schema, one by one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from bench.client import Ask, Load
from bench.harness import Sample, Session, main
from bench.prompts import chat, varied
from bench.results import at_least
from bench.servers import Server, completionist, peer

TITLE = "JSON by schema, 8 streams"
_STREAMS = 8
_CELLS = 1024
_MAX_TOKENS = 160

_SHIPS = ("the Alma, a ketch of 14 metres from Brest", "the Nora, a sloop of 9 metres from Cork", "a barge from Ghent")


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


EXTRACTION = _object(
    {
        "vessel_identification": _object(
            {
                "vessel_name": {"type": "string", "maxLength": 24},
                "vessel_category": {"enum": ["sailing yacht", "motor yacht", "barge", "fishing boat"]},
                "home_harbour": {"type": "string", "maxLength": 24},
            }
        ),
        "overall_length_metres": {"type": "integer", "minimum": 1, "maximum": 400},
        "is_currently_seaworthy": {"type": "boolean"},
        "requires_pilot_on_arrival": {"type": "boolean"},
        "preferred_berth_location": {"enum": ["north quay", "south quay", "anchorage"]},
    }
)
"""Much of it is forced: keys are long, values short."""
STORY = _object({"story": {"type": "string", "minLength": 400, "maxLength": 500}})
"""Nearly all of it is a string."""


def measure(session: Session) -> None:
    n_asks = session.pick(24, 8)
    with (
        completionist(session.options, streams=_STREAMS, context_tokens=_CELLS) as ours,
        peer(session.options, slots=_STREAMS, context_tokens=_CELLS) as theirs,
    ):
        seeds = dict.fromkeys(("ours", "theirs", "free", "story"), 0)
        lengths = [_MAX_TOKENS] * n_asks

        def extract(who: str, server: Server) -> Sample:
            seeds[who] += 100
            load = server.run(_extractions(n_asks, seeds[who]))
            lengths[:] = [answer.completion_tokens for answer in load.answers]
            return _sample(load)

        def tell() -> Sample:
            seeds["story"] += 100
            load = ours.run(_stories([_MAX_TOKENS] * n_asks, seeds["story"], _format(STORY)))
            lengths[:] = [answer.completion_tokens for answer in load.answers]
            return _sample(load)

        def speak(lengths: list[int]) -> Sample:
            seeds["free"] += 100
            return _sample(ours.run(_stories(lengths, seeds["free"], {})))

        against = session.pairs(lambda: extract("ours", ours), lambda: extract("theirs", theirs))
        forced = session.pairs(lambda: extract("ours", ours), lambda: speak(lengths))
        strings = session.pairs(tell, lambda: speak(lengths))
        longer = session.pairs(lambda: extract("ours", ours), lambda: speak([_MAX_TOKENS] * n_asks))
    session.ratio("extraction: answers/s against the peer", against, "answers", at_least(1.5))
    session.ratio("extraction: tokens/s against our free text of the same lengths", forced, "tokens", at_least(1.0))
    session.ratio("extraction: tokens/s against our free text of 160 tokens each", longer, "tokens")
    session.ratio("long string: tokens/s against our free text of the same lengths", strings, "tokens", at_least(0.95))
    session.value("answers of ours that parse", "%", [a["parsed"] for a, _ in against], at_least(100))
    session.value("answers of the peer's that parse", "%", [b["parsed"] for _, b in against])


def _extractions(n_asks: int, seed: int) -> list[Ask]:
    return [
        Ask(
            messages=chat(f"Note {number}: {_SHIPS[number % len(_SHIPS)]}. Give me its record.", system="Write JSON."),
            max_tokens=_MAX_TOKENS,
            fields=_format(EXTRACTION),
        )
        for number in range(seed, seed + n_asks)
    ]


def _stories(lengths: Sequence[int], seed: int, fields: Mapping[str, Any]) -> list[Ask]:
    return [Ask(messages=varied(seed + i), max_tokens=n, fields=fields) for i, n in enumerate(lengths)]


def _format(schema: Mapping[str, Any]) -> dict[str, Any]:
    named = {"name": "record", "schema": schema}
    return {"response_format": {"type": "json_schema", "json_schema": named}}


def _sample(load: Load) -> Sample:
    whole = [answer for answer in load.answers if answer.finish_reason == "stop"]
    parsed = sum(_parses(answer.text) for answer in whole)
    return {
        "answers": len(load.answers) / load.wall_s,
        "tokens": load.completion_tokens / load.wall_s,
        "parsed": 100 * parsed / len(whole) if whole else 100,
    }


def _parses(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


if __name__ == "__main__":
    main("schema", TITLE, measure)
