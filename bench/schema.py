"""Answers that must follow a JSON schema, 8 at a time: against the peer's, and against our own free text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bench.client import Ask
from bench.harness import Sample, Session, main
from bench.prompts import Chat, chat, varied
from bench.results import at_least
from bench.servers import Server, completionist, peer
from completionist.local.instructions import schema_instruction
from completionist.types.formats import JSONSchemaFormat

TITLE = "JSON by schema, 8 streams"
_STREAMS = 8
_CELLS = 1024
_MAX_TOKENS = 160
_EXTRACTED_TOKENS = 96
"""About as many as an extraction has."""
_NAME = "record"

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
        seeds = dict.fromkeys(("ours", "theirs", "free", "alike", "story"), 0)

        def extract(who: str, server: Server) -> Sample:
            seeds[who] += 100
            return _extract(server, n_asks, seeds[who])

        def write(who: str, schema: Mapping[str, Any] | None) -> Sample:
            seeds[who] += 100
            return _write(ours, n_asks, seeds[who], schema)

        def say(n_tokens: int) -> Sample:
            seeds["alike"] += 100
            return _say(ours, n_asks, seeds["alike"], n_tokens)

        against = session.pairs(lambda: extract("ours", ours), lambda: extract("theirs", theirs))
        forced = session.pairs(lambda: extract("ours", ours), lambda: write("free", None))
        alike = session.pairs(lambda: extract("ours", ours), lambda: say(_EXTRACTED_TOKENS))
        strings = session.pairs(lambda: write("story", STORY), lambda: write("free", None))
    session.ratio("extraction: answers/s against the peer", against, "answers", at_least(1.5))
    session.ratio("extraction: tokens/s against our free text", forced, "tokens", at_least(1.0))
    session.ratio("extraction: tokens/s against free text of like prompts and lengths", alike, "tokens")
    session.ratio("long string: tokens/s against our free text", strings, "tokens", at_least(0.95))
    session.value("answers of ours that parse", "%", [a["parsed"] for a, _ in against], at_least(100))
    session.value("answers of the peer's that parse", "%", [b["parsed"] for _, b in against])


def _extract(server: Server, n_asks: int, seed: int) -> Sample:
    fields = _format(EXTRACTION)
    asks = [Ask(messages=_note(seed + i), max_tokens=_MAX_TOKENS, fields=fields) for i in range(n_asks)]
    return _sample(server, asks)


def _say(server: Server, n_asks: int, seed: int, n_tokens: int) -> Sample:
    """The schema is in the prompt, as the server puts it there, and nothing holds the answer to it."""
    system = f"Write JSON.\n\n{schema_instruction(JSONSchemaFormat(name=_NAME, schema=EXTRACTION))}"
    asks = [Ask(messages=_note(seed + i, system), max_tokens=n_tokens) for i in range(n_asks)]
    return _sample(server, asks)


def _note(number: int, system: str = "Write JSON.") -> Chat:
    return chat(f"Note {number}: {_SHIPS[number % len(_SHIPS)]}. Give me its record.", system=system)


def _write(server: Server, n_asks: int, seed: int, schema: Mapping[str, Any] | None) -> Sample:
    fields = _format(schema) if schema else {}
    asks = [Ask(messages=varied(seed + i), max_tokens=_MAX_TOKENS, fields=fields) for i in range(n_asks)]
    return _sample(server, asks)


def _format(schema: Mapping[str, Any]) -> dict[str, Any]:
    named = {"name": _NAME, "schema": schema}
    return {"response_format": {"type": "json_schema", "json_schema": named}}


def _sample(server: Server, asks: list[Ask]) -> Sample:
    load = server.run(asks)
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
