"""Logprobs, bias and penalties on the real model, plain and streamed (contract 2.1, 2.6, 5.3, 6.8)."""

from __future__ import annotations

import math
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionTokenLogprob

from tests.real.test_create import plain, streamed, words

pytestmark = pytest.mark.model

UNRANKED = -9999.0


def entries(client: openai.OpenAI, **given: Any) -> list[ChatCompletionTokenLogprob]:
    logprobs = plain(client, logprobs=True, **given).choices[0].logprobs
    assert logprobs
    assert logprobs.refusal is None
    assert logprobs.content is not None
    return logprobs.content


def test_logprobs_spell_the_text_and_rank_the_greedy_token_first(client: openai.OpenAI) -> None:
    answer = plain(client, logprobs=True, top_logprobs=5)
    logprobs = answer.choices[0].logprobs
    assert logprobs
    assert logprobs.content
    spelled = bytes(byte for entry in logprobs.content for byte in entry.bytes or ())
    assert spelled.decode() == answer.choices[0].message.content
    for entry in logprobs.content:
        ranked = [one.logprob for one in entry.top_logprobs]
        assert len(ranked) == 5
        assert ranked == sorted(ranked, reverse=True)
        assert (entry.top_logprobs[0].token, entry.top_logprobs[0].logprob) == (entry.token, entry.logprob)
        assert sum(map(math.exp, ranked)) <= 1.0 + 1e-6


def test_streamed_logprobs_are_those_of_the_plain_answer(client: openai.OpenAI) -> None:
    chunks = streamed(client, logprobs=True, top_logprobs=2, stop="2.")
    choices = [choice for chunk in chunks for choice in chunk.choices]
    listed = [one for choice in choices if choice.logprobs for one in choice.logprobs.content or ()]
    expected = entries(client, top_logprobs=2, stop="2.")
    assert [(one.token, one.bytes) for one in listed] == [(one.token, one.bytes) for one in expected]
    for choice in choices:
        if choice.delta.content:
            assert choice.logprobs
            own = b"".join(bytes(one.bytes or ()) for one in choice.logprobs.content or ())
            assert own.decode(errors="ignore").startswith(choice.delta.content[:1])
    assert choices[-1].logprobs is None


def test_without_top_logprobs_there_are_none(client: openai.OpenAI) -> None:
    assert all(entry.top_logprobs == [] for entry in entries(client))
    assert plain(client).choices[0].logprobs is None


def test_bias_bans_and_forces_and_is_not_in_the_probabilities(client: openai.OpenAI) -> None:
    free = plain(client).choices[0].message.content
    token_id = 28  # an ordinary character of this vocabulary
    forced = entries(client, logit_bias={str(token_id): 100}, max_completion_tokens=4)
    assert len({entry.token for entry in forced}) == 1
    assert any(entry.logprob == UNRANKED for entry in forced)
    banned = plain(client, logit_bias={str(token): -100 for token in range(28, 58)})
    assert banned.choices[0].message.content != free
    assert not set(banned.choices[0].message.content or "") & set("1234567890")


@pytest.mark.parametrize("penalty", ["presence_penalty", "frequency_penalty"])
def test_penalties_move_the_answer_away_from_what_it_said(client: openai.OpenAI, penalty: str) -> None:
    def tokens(value: float) -> list[str]:
        return [entry.token for entry in entries(client, max_completion_tokens=32, **{penalty: value})]

    varied, repetitive = tokens(2), tokens(-2)
    assert len(set(varied)) / len(varied) > len(set(repetitive)) / len(repetitive)


def test_stream_with_a_penalty_is_the_plain_answer(client: openai.OpenAI) -> None:
    given = {"frequency_penalty": 1.5, "presence_penalty": 0.5, "n": 2, "seed": 3, "temperature": 0.9}
    chunks, answer = streamed(client, **given), plain(client, **given)
    assert [words(chunks, index) for index in (0, 1)] == [choice.message.content for choice in answer.choices]
