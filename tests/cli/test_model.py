"""The main job on real input: the official client, synchronous and not, against `completionist serve` with the 135M model."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from completionist.settings import DEFAULT_MODEL

pytestmark = pytest.mark.model

FRANCE: list[Any] = [
    {"role": "system", "content": "You answer in one short sentence."},
    {"role": "user", "content": [{"type": "text", "text": "What is the capital of France?"}]},
]
GREEDY: dict[str, Any] = {"model": DEFAULT_MODEL, "messages": FRANCE, "temperature": 0, "max_completion_tokens": 24}
SAMPLED: dict[str, Any] = GREEDY | {"temperature": 1.0, "top_p": 0.95}


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    """A server with the models of this machine's cache."""
    options = ["--port", "0", "--streams", "4", "--context-tokens", "1024"]
    command = [sys.executable, "-m", "completionist", "serve", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout
        addresses = (re.search(r"address +(\S+)", line) for line in process.stdout)
        address = next((found[1] for found in addresses if found), None)
        assert address, "the server did not start"
        yield address
        process.terminate()


@pytest.fixture
def client(base_url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=base_url, api_key="none needed", max_retries=0, timeout=50) as client:
        yield client


def text_of(answer: Any) -> str:
    return str(answer.choices[0].message.content)


def streamed(client: openai.OpenAI, request: dict[str, Any]) -> tuple[dict[int, str], list[Any]]:
    """The text of each choice, and all chunks."""
    texts: dict[int, str] = {}
    chunks = list(client.chat.completions.create(stream=True, **request))
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index] = texts.get(choice.index, "") + (choice.delta.content or "")
    return texts, chunks


def test_it_knows_the_capital_of_france(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(**GREEDY)
    assert "Paris" in text_of(answer)
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_streamed_and_plain_say_the_same(client: openai.OpenAI) -> None:
    plain = client.chat.completions.create(**GREEDY)
    texts, chunks = streamed(client, GREEDY | {"stream_options": {"include_usage": True}})
    assert texts == {0: text_of(plain)}
    assert plain.usage
    assert chunks[-1].usage.completion_tokens == plain.usage.completion_tokens
    assert chunks[-1].usage.prompt_tokens == plain.usage.prompt_tokens


def test_the_asynchronous_client_gets_the_same(base_url: str, client: openai.OpenAI) -> None:
    async def ask() -> str:
        async with openai.AsyncOpenAI(base_url=base_url, api_key="none needed") as asynchronous:
            return text_of(await asynchronous.chat.completions.create(**GREEDY))

    assert asyncio.run(ask()) == text_of(client.chat.completions.create(**GREEDY))


def test_developer_and_system_are_one(client: openai.OpenAI) -> None:
    developer = client.chat.completions.create(**GREEDY | {"messages": [FRANCE[0] | {"role": "developer"}, FRANCE[1]]})
    assert text_of(developer) == text_of(client.chat.completions.create(**GREEDY))


def test_the_token_limit_is_exact(client: openai.OpenAI) -> None:
    for limit in ("max_tokens", "max_completion_tokens"):
        request = {name: value for name, value in GREEDY.items() if name != "max_completion_tokens"}
        answer = client.chat.completions.create(**request | {limit: 3})
        assert answer.choices[0].finish_reason == "length"
        assert answer.usage
        assert answer.usage.completion_tokens == 3


def test_a_stop_string_ends_the_text_before_it(client: openai.OpenAI) -> None:
    whole = text_of(client.chat.completions.create(**GREEDY))
    answer = client.chat.completions.create(**GREEDY | {"stop": "Paris"})
    assert text_of(answer) == whole[: whole.index("Paris")]
    assert answer.choices[0].finish_reason == "stop"
    assert streamed(client, GREEDY | {"stop": "Paris"})[0] == {0: text_of(answer)}


def test_a_seed_repeats_and_another_does_not(client: openai.OpenAI) -> None:
    request = SAMPLED | {"messages": [{"role": "user", "content": "Write a strange poem."}]}
    first, again, other = (text_of(client.chat.completions.create(**request | {"seed": s})) for s in (7, 7, 8))
    assert first == again
    assert first != other


def test_no_probability_mass_is_the_most_likely_token(client: openai.OpenAI) -> None:
    sampled = client.chat.completions.create(**SAMPLED | {"top_p": 0.0, "seed": 3})
    assert text_of(sampled) == text_of(client.chat.completions.create(**GREEDY))


def test_choices_differ_and_the_prompt_counts_once(client: openai.OpenAI) -> None:
    request = SAMPLED | {"messages": [{"role": "user", "content": "Name an animal."}], "seed": 1}
    one = client.chat.completions.create(**request)
    three = client.chat.completions.create(**request | {"n": 3})
    assert [choice.index for choice in three.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in three.choices}) > 1
    assert one.usage
    assert three.usage
    assert three.usage.prompt_tokens == one.usage.prompt_tokens


def test_models_are_listed(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [DEFAULT_MODEL]
    assert client.models.retrieve(DEFAULT_MODEL).owned_by == "HuggingFaceTB"
