"""Reading in a helper process gives what reading here gives."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from completionist.api.decoder import MAX_BODY_BYTES_HERE, MAX_BRACKETS_HERE, Decoder, is_light
from completionist.errors import APIError
from completionist.types.request import ChatRequest, Draft
from tests.wire.bodies import HELLO, body, chat


def nested(n_levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(n_levels):
        schema = {"type": "object", "properties": {"x": schema}}
    return schema


def function(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", "parameters": schema}}


LONG = {"role": "user", "content": "x" * MAX_BODY_BYTES_HERE}
MANY = [HELLO] * MAX_BRACKETS_HERE
HEAVY: dict[str, dict[str, Any]] = {
    "long": chat(LONG),
    "many": chat(*MANY),
    "deepest schema": chat(LONG, tools=[function(nested(127))]),
    "schema too deep": chat(LONG, tools=[function(nested(128))]),
    "refused": chat(*MANY, n=0),
    "refused at once": {"model": 1, "messages": MANY},
    "no messages": {"model": "m", "x": MANY},
}


async def outcome(decoder: Decoder, raw: bytes) -> ChatRequest | tuple[type, str, str | None]:
    try:
        draft = await decoder.read(raw)
        assert draft.model == "m"
        return draft.request()
    except APIError as error:
        return type(error), error.message, error.param


def test_the_outcome_does_not_depend_on_the_place() -> None:
    async def ask() -> None:
        decoder = Decoder()
        try:
            for sent in HEAVY.values():
                raw = json.dumps(sent).encode()
                assert not is_light(raw)
                assert await outcome(decoder, raw) == outcome_here(raw)
        finally:
            await asyncio.to_thread(decoder.close)

    asyncio.run(ask())


def outcome_here(raw: bytes) -> ChatRequest | tuple[type, str, str | None]:
    try:
        return Draft.read(raw).request()
    except APIError as error:
        return type(error), error.message, error.param


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (body(), True),
        (chat(*[HELLO] * 900), True),
        (chat(*MANY), False),
        (chat(LONG), False),
        (body(user="[" * MAX_BRACKETS_HERE), False),
    ],
)
def test_light_bodies_are_short_and_have_few_parts(sent: dict[str, Any], expected: bool) -> None:
    assert is_light(json.dumps(sent).encode()) is expected
