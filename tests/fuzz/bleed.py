"""A nonce in every request, many at once: whose nonce comes back, and whether it is ever another one's.

A small model goes on with what it has just read: that most answers repeat their own nonce shows that one that came from
somebody else's prompt would be seen.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import string
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, NamedTuple

import openai

_LETTERS = string.ascii_uppercase
_NONCE = re.compile(r"[A-Z]{3}-[0-9]{5}")
_OUT_TOKENS = 12


class Bled(NamedTuple):
    """What came of it."""

    n_requests: int
    n_own: int
    """Answers that repeat their own nonce."""
    foreign: Sequence[str]
    """Answers with a nonce of another request."""
    broken: Sequence[str]


def bleed(
    base_url: str,
    model: str,
    *,
    n_requests: int,
    at_once: int,
    seed: int = 0,
    begins: Callable[[int], None] = lambda _: None,
) -> Bled:
    """Ask so many, so many at a time: plain and streamed, of several choices, with probabilities, stored, shaped.

    `begins` is told the number of each request.
    """
    nonces = _nonces(n_requests, random.Random(seed))  # noqa: S311 (a repeatable run)
    return asyncio.run(_bleed(base_url, model, nonces, at_once, begins))


async def _bleed(base_url: str, model: str, nonces: list[str], at_once: int, begins: Callable[[int], None]) -> Bled:
    known = frozenset(nonces)
    n_own, foreign, broken = 0, list[str](), list[str]()
    todo = iter(enumerate(nonces))

    async def ask() -> None:
        nonlocal n_own
        for number, nonce in todo:
            begins(number)
            try:
                answers = [text async for text in _answers(client, model, nonce, number)]
            except openai.APIError as error:
                broken.append(repr(error))
                continue
            found = set(_NONCE.findall(" ".join(answers)))
            n_own += nonce in found
            foreign.extend(f"{nonce}: {answer}" for answer in answers if found & known - {nonce})

    async with openai.AsyncOpenAI(base_url=base_url, api_key="x", max_retries=8, timeout=120) as client:
        await asyncio.gather(*(ask() for _ in range(at_once)))
    return Bled(len(nonces), n_own, foreign, broken)


def _nonces(n: int, source: random.Random) -> list[str]:
    drawn: dict[str, None] = {}
    while len(drawn) < n:
        drawn["".join(source.choices(_LETTERS, k=3)) + f"-{source.randrange(10**5):05}"] = None
    return list(drawn)


async def _answers(client: openai.AsyncOpenAI, model: str, nonce: str, number: int) -> AsyncIterator[str]:
    """Everything that the server says because of one request. Kinds take turns."""
    said = f"{nonce} {nonce} {nonce}"
    fields: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "system", "content": "Repeat"}, {"role": "user", "content": said}],
        "temperature": 0,
        "max_completion_tokens": _OUT_TOKENS,
        "user": nonce,
    }
    match number % 5:
        case 0:
            chunks = await client.chat.completions.create(**fields, stream=True)
            yield "".join([choice.delta.content or "" async for chunk in chunks for choice in chunk.choices])
        case 1:
            answer = await client.chat.completions.create(**fields, n=2, metadata={"nonce": nonce}, store=True)
            kept = await client.chat.completions.retrieve(answer.id)
            messages = await client.chat.completions.messages.list(answer.id)
            yield kept.model_dump_json()
            yield messages.model_dump_json()
        case 2:
            yield (await client.chat.completions.create(**fields, logprobs=True, top_logprobs=2)).model_dump_json()
        case 3:
            shape = {"type": "object", "properties": {"password": {"type": "string"}}}
            strict = {**shape, "required": ["password"], "additionalProperties": False}
            form: Any = {"type": "json_schema", "json_schema": {"name": "said", "strict": True, "schema": strict}}
            longer = fields | {"max_completion_tokens": 2 * _OUT_TOKENS}
            yield (await client.chat.completions.create(**longer, response_format=form)).model_dump_json()
        case _:
            answer = await client.chat.completions.create(**fields)
            yield json.dumps(answer.choices[0].message.content)
