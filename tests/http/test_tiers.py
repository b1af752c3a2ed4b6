"""`service_tier`: what is echoed, who is served first, and who finds no capacity (contract 8.3)."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Callable
from typing import Any

import msgspec
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from completionist.engine.base import PlainText, Prompt
from completionist.engine.scripted import CARD, Move, Pause
from completionist.settings import EngineSettings, KeySettings
from tests.conftest import Serve
from tests.support.ask import ask, ask_async, ask_streamed
from tests.support.server import SETTINGS, RunningServer, eventually

NOT_ALLOWED = "Invalid service_tier argument: The requested service tier is not allowed for this project."
ONE_STREAM = msgspec.structs.replace(CARD, streams=1)


@pytest.mark.parametrize(
    ("sent", "served"),
    [
        ({}, "default"),
        ({"service_tier": None}, "default"),
        ({"service_tier": "auto"}, "default"),
        ({"service_tier": "default"}, "default"),
        ({"service_tier": "flex"}, "flex"),
        ({"service_tier": "priority"}, "priority"),
        ({"service_tier": "fast"}, "priority"),
    ],
)
def test_the_tier_that_served_is_in_the_answer_and_in_every_chunk(
    client: openai.OpenAI, sent: dict[str, Any], served: str
) -> None:
    assert ask(client, **sent).service_tier == served
    chunks = ask_streamed(client, stream_options={"include_usage": True}, **sent)
    assert {chunk.service_tier for chunk in chunks} == {served}


def test_scale_is_for_projects_that_have_it(
    serve: Serve, client: openai.OpenAI, client_of: Callable[..., openai.OpenAI]
) -> None:
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError, match=NOT_ALLOWED) as refused:
            client.chat.completions.create(
                model=CARD.name, messages=[{"role": "user", "content": "x"}], service_tier="scale", stream=stream
            )
        assert (refused.value.param, refused.value.code) == ("service_tier", None)
    key = KeySettings(sha256=hashlib.sha256(b"k").hexdigest(), project="big", service_tier="scale")
    entitled = client_of(serve(settings=SETTINGS.model_copy(update={"keys": (key,)})), api_key="k")
    assert ask(entitled).service_tier == ask(entitled, service_tier="scale").service_tier == "scale"
    assert ask(entitled, service_tier="default").service_tier == "default"


def held(prompt: Prompt) -> list[list[Move]]:
    """It holds its stream until its client leaves, and says nothing when it was asked to wait."""
    text = "".join(segment.text for segment in prompt.segments if isinstance(segment, PlainText))
    return [[Pause(math.inf)] if "wait" in text else [b"done", Pause(math.inf)]]


async def saturated(server: RunningServer, *asked: tuple[str, str]) -> list[str]:
    """Hold the only stream, queue questions of these (name, tier) one after another, let go: who has it next, and next.

    Each leaves with its first words, and only then is there a stream for another.
    """
    async with openai.AsyncOpenAI(base_url=server.base_url, api_key="x", max_retries=0) as client:

        async def one(content: str, **fields: Any) -> None:
            messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": content}]
            stream = await client.chat.completions.create(model=CARD.name, messages=messages, stream=True, **fields)
            async with stream:
                async for chunk in stream:
                    if chunk.choices[0].delta.content:
                        answered.append(content)
                        break

        answered: list[str] = []
        holder = asyncio.create_task(one("wait"))
        await asyncio.to_thread(eventually, lambda: server.engine.stats.running == 1)
        tasks = []
        for i, (name, tier) in enumerate(asked, start=1):
            tasks.append(asyncio.create_task(one(name, service_tier=tier)))
            await asyncio.to_thread(eventually, lambda i=i: server.engine.stats.waiting == i)
        holder.cancel()
        await asyncio.gather(*tasks)
        return answered


def test_higher_tiers_are_served_first(serve: Serve) -> None:
    server = serve(held, card=ONE_STREAM)
    asked = (("a", "flex"), ("b", "default"), ("c", "priority"), ("d", "fast"), ("e", "auto"))
    assert asyncio.run(saturated(server, *asked)) == ["c", "d", "b", "e", "a"]


def test_flex_without_capacity_is_refused_while_others_still_wait(serve: Serve) -> None:
    server = serve(
        held, card=ONE_STREAM, settings=SETTINGS.model_copy(update={"engine": EngineSettings(queue_requests=2)})
    )

    async def crowd() -> tuple[openai.RateLimitError, openai.RateLimitError]:
        async with openai.AsyncOpenAI(base_url=server.base_url, api_key="x", max_retries=0) as client:
            waiting = [{"role": "user", "content": "wait"}]
            tasks = []
            for n_before in range(2):
                tasks.append(asyncio.create_task(ask_async(client, messages=waiting, service_tier="flex")))
                await asyncio.to_thread(
                    eventually,
                    lambda n=n_before: server.engine.stats.running + server.engine.stats.waiting > n,
                )
            refusals = []
            for stream in (False, True):
                with pytest.raises(openai.RateLimitError) as refused:
                    await ask_async(client, messages=waiting, service_tier="flex", stream=stream)
                refusals.append(refused.value)
            tasks.append(asyncio.create_task(ask_async(client, messages=waiting)))
            await asyncio.to_thread(eventually, lambda: server.engine.stats.waiting == 2)
            with pytest.raises(openai.InternalServerError) as full:
                await ask_async(client, messages=waiting, service_tier="priority")
            assert (full.value.status_code, full.value.code) == (503, "server_is_overloaded")
            for task in tasks:
                task.cancel()
            return refusals[0], refusals[1]

    for refusal in asyncio.run(crowd()):
        assert (refusal.status_code, refusal.code, refusal.type) == (
            429,
            "resource_unavailable",
            "invalid_request_error",
        )
        assert refusal.param is None
        assert int(refusal.response.headers["retry-after"]) * 1000 == int(refusal.response.headers["retry-after-ms"])
