"""The local backend, whole, over the scripted engine."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import msgspec
import pytest

from completionist.chat.deltas import Closed, Delta, Opened, Text, Totals
from completionist.engine.base import ControlToken, PlainText, Prompt, PromptTooLong, Sampling
from completionist.engine.scripted import CARD, Crash, Pause, Script, ScriptedEngine
from completionist.errors import APIError, ChatTemplateRefusal, ContextLengthExceeded, EngineLost, Overloaded
from completionist.local.backend import LocalBackend
from completionist.types.caller import Caller
from completionist.types.request import ChatRequest, Draft
from tests.local.templates import ALTERNATING_WITHOUT_SYSTEM

CALLER = Caller(project="of-mine")


def request(*messages: tuple[str, str], **fields: Any) -> ChatRequest:
    spelt = [{"role": role, "content": content} for role, content in messages or [("user", "Hi")]]
    return Draft.read(json.dumps({"model": "m", "messages": spelt, **fields}).encode()).request()


class Prompts:
    """A script that keeps the prompts it was given."""

    def __init__(self) -> None:
        self.seen: list[Prompt] = []

    def __call__(self, prompt: Prompt) -> list[list[bytes]]:
        self.seen.append(prompt)
        return [[b"ok"]] * prompt.n


@asynccontextmanager
async def backend_of(script: Script, **card: Any) -> AsyncIterator[tuple[LocalBackend, ScriptedEngine]]:
    engine = ScriptedEngine(script, card=msgspec.structs.replace(CARD, **card))
    backend = LocalBackend(engine)
    try:
        yield backend, engine
    finally:
        await backend.close()
        await engine.close()


def deltas_of(script: Script, asked: ChatRequest, **card: Any) -> list[Delta]:
    async def main() -> list[Delta]:
        async with backend_of(script, **card) as (backend, _):
            return [delta async for delta in backend.deltas(asked, CALLER)]

    return asyncio.run(main())


def text_of(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas if isinstance(delta, Text))


def test_a_request_becomes_a_prompt() -> None:
    prompts = Prompts()
    asked = request(
        ("developer", "Be brief."), ("user", "Hi"), seed=-5, n=2, max_tokens=9, temperature=0, top_p=0.5, stop="x"
    )
    deltas_of(prompts, asked)
    (prompt,) = prompts.seen
    assert (prompt.project, prompt.n, prompt.max_tokens) == ("of-mine", 2, 9)
    assert prompt.sampling == Sampling(temperature=0.0, top_p=0.5, seed=-5)
    assert PlainText("system\nBe brief.") in prompt.segments
    assert prompt.segments[-2:] == (ControlToken(1), PlainText("assistant\n"))


def test_defaults_are_openai_s_and_the_seed_is_another_one_each_time() -> None:
    prompts = Prompts()
    deltas_of(prompts, request())
    deltas_of(prompts, request(max_completion_tokens=4))
    first, second = prompts.seen
    assert (first.n, first.max_tokens, second.max_tokens) == (1, None, 4)
    assert (first.sampling.temperature, first.sampling.top_p) == (1.0, 1.0)
    assert first.sampling.seed != second.sampling.seed


def test_an_answer_of_two_choices() -> None:
    deltas = deltas_of(lambda _: [[b"Caf", b"\xc3", b"\xa9 STOP"], [b"Tea"]], request(n=2, stop="STOP"))
    assert deltas[:2] == [Opened(0, 9), Opened(1, 9)]
    assert isinstance(deltas[-1], Totals)
    assert deltas[-1].usage.completion_tokens == 3 + 2
    assert [d for d in deltas if isinstance(d, Closed)] == [Closed(1, "stop"), Closed(0, "stop")]
    assert sorted(text_of([d]) for d in deltas if isinstance(d, Text)) == ["Caf", "Tea", "é "]


def test_the_engine_stops_generating_at_a_stop_string() -> None:
    async def main() -> None:
        async with backend_of(lambda _: [[b"a.", *[b"b"] * 7000]]) as (backend, engine):
            deltas = [delta async for delta in backend.deltas(request(stop="."), CALLER)]
            assert deltas[1:3] == [Text(0, "a"), Closed(0, "stop")]
            assert isinstance(deltas[-1], Totals)
            assert deltas[-1].usage.completion_tokens == 1
            assert engine.n_cancelled == 0
            assert engine.stats.running == 0

    asyncio.run(main())


def test_a_slow_reader_gets_one_text_for_all_that_came_meanwhile() -> None:
    async def main() -> list[Delta]:
        async with backend_of(lambda _: [[b"x"] * 100]) as (backend, _):
            deltas = []
            async with aclosing(backend.deltas(request(), CALLER)) as answer:
                async for delta in answer:
                    deltas.append(delta)
                    await asyncio.sleep(0.05)
            return deltas

    deltas = asyncio.run(main())
    assert text_of(deltas) == "x" * 100
    assert len(deltas) < 20


def test_closing_the_deltas_cancels_the_generation() -> None:
    async def main() -> None:
        async with backend_of(lambda _: [[b"a", Pause(math.inf)]]) as (backend, engine):
            async with aclosing(backend.deltas(request(), CALLER)) as answer:
                async for delta in answer:
                    if isinstance(delta, Text):
                        break
            assert engine.n_cancelled == 1

    asyncio.run(main())


def test_a_prompt_beyond_the_context() -> None:
    with pytest.raises(ContextLengthExceeded):
        deltas_of(lambda _: [[b"a"]], request(("user", "one two three four")), context_tokens=8)


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (lambda _: [[b"a", Crash(restart_s=60)]], EngineLost),
        (lambda _: [[PromptTooLong(9, 8)]], ContextLengthExceeded),
    ],
)
def test_an_engine_that_fails_under_a_request(script: Script, error: type[APIError]) -> None:
    with pytest.raises(error):
        deltas_of(script, request())


def test_an_engine_that_is_being_restarted() -> None:
    async def main() -> None:
        async with backend_of(lambda _: [[Crash(restart_s=60)]]) as (backend, _):
            with pytest.raises(EngineLost):
                [delta async for delta in backend.deltas(request(), CALLER)]
            with pytest.raises(Overloaded) as refusal:
                [delta async for delta in backend.deltas(request(), CALLER)]
            assert 1 <= int(refusal.value.headers["retry-after"]) <= 60

    asyncio.run(main())


def test_system_text_for_a_template_without_a_system_role() -> None:
    prompts = Prompts()
    deltas_of(prompts, request(("system", "Be brief."), ("user", "Hi")), chat_template=ALTERNATING_WITHOUT_SYSTEM)
    assert "user\nBe brief.\n\nHi<" in "".join(s.text for s in prompts.seen[0].segments if isinstance(s, PlainText))


def test_a_conversation_that_the_template_refuses_runs_nothing() -> None:
    prompts = Prompts()
    with pytest.raises(ChatTemplateRefusal, match="roles must alternate"):
        deltas_of(prompts, request(("user", "a"), ("user", "b")), chat_template=ALTERNATING_WITHOUT_SYSTEM)
    assert prompts.seen == []
