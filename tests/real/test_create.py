"""The main job: real text for every form of the create call (contract 2, 5, 6)."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from completionist.settings import DEFAULT_MODEL

pytestmark = pytest.mark.model

N_TOKENS = 14
"""Of an answer that is cut off: enough to see what is asked for, and not more."""
RIVERS: tuple[Any, ...] = (
    {"role": "system", "content": "You are a friendly teacher."},
    {"role": "user", "content": [{"type": "text", "text": "Name "}, {"type": "text", "text": "three rivers."}]},
)


def fields(**given: Any) -> dict[str, Any]:
    return {
        "model": DEFAULT_MODEL,
        "messages": list(RIVERS),
        "max_completion_tokens": N_TOKENS,
        "temperature": 0,
        **given,
    }


def plain(client: openai.OpenAI, **given: Any) -> ChatCompletion:
    answer = client.chat.completions.create(**fields(**given))
    assert isinstance(answer, ChatCompletion)
    return answer


def streamed(client: openai.OpenAI, **given: Any) -> list[ChatCompletionChunk]:
    return list(client.chat.completions.create(**fields(stream=True, stream_options={"include_usage": True}, **given)))


def words(chunks: list[ChatCompletionChunk], index: int = 0) -> str:
    choices = [choice for chunk in chunks for choice in chunk.choices if choice.index == index]
    return "".join(choice.delta.content or "" for choice in choices)


def test_a_plain_answer_and_its_stream_say_the_same(client: openai.OpenAI) -> None:
    answer, chunks = plain(client), streamed(client)
    (choice,) = answer.choices
    assert choice.finish_reason == "length"
    assert choice.message.content
    assert words(chunks) == choice.message.content
    assert answer.usage
    assert chunks[-1].usage
    assert chunks[-1].usage.completion_tokens == answer.usage.completion_tokens == N_TOKENS
    assert chunks[-1].usage.prompt_tokens == answer.usage.prompt_tokens
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + N_TOKENS
    assert {chunk.system_fingerprint for chunk in chunks} == {answer.system_fingerprint}


def test_a_natural_end_is_a_stop_and_its_token_counts(client: openai.OpenAI) -> None:
    answer = plain(client, messages=[{"role": "user", "content": "Say hello."}], max_completion_tokens=400)
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage
    listed = (
        plain(client, messages=[{"role": "user", "content": "Say hello."}], max_completion_tokens=400, logprobs=True)
        .choices[0]
        .logprobs
    )
    assert listed
    assert listed.content is not None
    assert answer.usage.completion_tokens == len(listed.content) + 1


def test_a_stop_string_ends_the_answer_before_itself(client: openai.OpenAI) -> None:
    whole = plain(client).choices[0].message.content or ""
    stop = whole[8:14]
    answer, chunks = plain(client, stop=[stop, "never to be seen"]), streamed(client, stop=stop)
    assert answer.choices[0].message.content == words(chunks) == whole[: whole.index(stop)]
    assert answer.choices[0].finish_reason == "stop"


def test_choices_differ_and_the_seed_repeats_them(client: openai.OpenAI) -> None:
    given = {"n": 3, "temperature": 1.2, "top_p": 0.95, "seed": 11}
    first, second = plain(client, **given), plain(client, **given)
    texts = [choice.message.content for choice in first.choices]
    assert [choice.index for choice in first.choices] == [0, 1, 2]
    assert len(set(texts)) > 1
    assert first.usage
    assert second.usage
    assert first.usage.completion_tokens <= 3 * N_TOKENS
    assert first.usage.prompt_tokens == second.usage.prompt_tokens
    assert [choice.message.content for choice in second.choices] == texts


def test_roles_reach_the_prompt(client: openai.OpenAI) -> None:
    def n_tokens(messages: list[Any]) -> int:
        usage = plain(client, messages=messages, max_completion_tokens=1).usage
        assert usage
        return usage.prompt_tokens

    user = {"role": "user", "content": "Name three rivers."}
    said = {"role": "assistant", "content": "The Rhine."}
    system = {"role": "system", "content": "Be brief."}
    developer = {"role": "developer", "content": "Be brief."}
    assert n_tokens([developer, user]) == n_tokens([system, user])
    assert n_tokens([user, said, user]) > n_tokens([user, user])


def test_the_async_client_streams_many_at_once(real_url: str) -> None:
    async def ask(client: openai.AsyncOpenAI, seed: int) -> tuple[str, str | None]:
        stream = await client.chat.completions.create(**fields(stream=True, seed=seed))
        text, reason = "", None
        async for chunk in stream:
            text += chunk.choices[0].delta.content or ""
            reason = chunk.choices[0].finish_reason or reason
        return text, reason

    async def ask_all() -> list[tuple[str, str | None]]:
        async with openai.AsyncOpenAI(base_url=real_url, api_key="none", max_retries=0) as client:
            return list(await asyncio.gather(*(ask(client, seed) for seed in range(8))))

    answers = asyncio.run(ask_all())
    assert all(text and reason == "length" for text, reason in answers)


def test_models_are_listed_and_kept(client: openai.OpenAI) -> None:
    (model,) = [model for model in client.models.list() if model.id == DEFAULT_MODEL]  # others may be installed
    assert client.models.retrieve(DEFAULT_MODEL) == model
    with pytest.raises(openai.PermissionDeniedError):
        client.models.delete(DEFAULT_MODEL)
    with pytest.raises(openai.NotFoundError):
        client.models.delete("nobody")


def test_a_prompt_over_the_context_is_refused_and_the_next_one_served(client: openai.OpenAI) -> None:
    long = [{"role": "user", "content": "river " * 3000}]
    with pytest.raises(openai.BadRequestError) as refused:
        plain(client, messages=long)
    assert refused.value.code == "context_length_exceeded"
    assert refused.value.param == "messages"
    assert plain(client).choices[0].message.content


def test_no_probability_mass_is_the_most_likely_token(client: openai.OpenAI) -> None:
    drawn = plain(client, temperature=1.5, top_p=0, seed=3)
    assert drawn.choices[0].message.content == plain(client).choices[0].message.content


def test_another_seed_says_something_else(client: openai.OpenAI) -> None:
    first, other = (plain(client, temperature=1.5, seed=seed).choices[0].message.content for seed in (7, 8))
    assert first != other


def test_verbosity_is_an_instruction_that_counts_in_the_prompt(client: openai.OpenAI) -> None:
    def prompt_tokens(**given: Any) -> int:
        answer, chunks = (
            plain(client, max_completion_tokens=1, **given),
            streamed(client, max_completion_tokens=1, **given),
        )
        assert answer.usage
        assert chunks[-1].usage
        assert chunks[-1].usage.prompt_tokens == answer.usage.prompt_tokens
        return answer.usage.prompt_tokens

    unsent = prompt_tokens()
    assert prompt_tokens(verbosity=None) == unsent
    assert all(prompt_tokens(verbosity=verbosity) > unsent + 10 for verbosity in ("low", "medium", "high"))
