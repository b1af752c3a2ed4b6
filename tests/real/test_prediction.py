"""Predicted outputs on the real model: the same answer, sooner, with true counts (contract 8.1)."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletion

from completionist.settings import DEFAULT_MODEL

pytestmark = pytest.mark.model

MESSAGES: Any = [{"role": "user", "content": "Count from one to thirty in words."}]


def ask(client: openai.OpenAI, prediction: Any = None, **given: Any) -> ChatCompletion:
    fields = {"temperature": 0, "max_tokens": 40, **given}
    if prediction is not None:
        fields["prediction"] = {"type": "content", "content": prediction}
    answer = client.chat.completions.create(model=DEFAULT_MODEL, messages=MESSAGES, **fields)
    assert isinstance(answer, ChatCompletion)
    return answer


def counts(answer: ChatCompletion) -> tuple[int, int]:
    assert answer.usage is not None
    details = answer.usage.completion_tokens_details
    assert details is not None
    return details.accepted_prediction_tokens or 0, details.rejected_prediction_tokens or 0


def test_a_right_prediction_is_accepted_and_changes_nothing(client: openai.OpenAI) -> None:
    plain = ask(client)
    text = plain.choices[0].message.content or ""
    for prediction in (text, [{"type": "text", "text": text[:30]}, {"type": "text", "text": text[30:]}]):
        predicted = ask(client, prediction)
        assert predicted.choices[0].message.content == text
        assert predicted.choices[0].finish_reason == plain.choices[0].finish_reason
        accepted, rejected = counts(predicted)
        assert accepted > 20
        assert predicted.usage is not None
        assert plain.usage is not None
        assert predicted.usage.completion_tokens == plain.usage.completion_tokens + rejected
    assert counts(plain) == (0, 0)


def test_a_wrong_prediction_changes_nothing(client: openai.OpenAI) -> None:
    plain = ask(client)
    wrong = ask(client, "Completely different words about harbours, tides and the moon over the sea.")
    assert wrong.choices[0].message.content == plain.choices[0].message.content
    accepted, rejected = counts(wrong)
    assert accepted <= 2
    assert wrong.usage is not None
    assert plain.usage is not None
    assert wrong.usage.completion_tokens == plain.usage.completion_tokens + rejected


def test_streamed_counts_are_the_same(client: openai.OpenAI) -> None:
    text = ask(client).choices[0].message.content or ""
    stream: Any = client.chat.completions.create(
        model=DEFAULT_MODEL,
        messages=MESSAGES,
        temperature=0,
        max_tokens=40,
        prediction={"type": "content", "content": text[: len(text) // 2] + " and so on and on"},
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == text
    usage = chunks[-1].usage
    assert usage.completion_tokens_details.accepted_prediction_tokens > 10
    assert usage.completion_tokens_details.rejected_prediction_tokens > 0


def test_a_prediction_stands_beside_a_schema(client: openai.OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"x": {"type": "string"}},
        "required": ["x"],
        "additionalProperties": False,
    }
    sent = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": True}}
    plain = ask(client, response_format=sent)
    text = plain.choices[0].message.content or ""
    predicted = ask(client, text, response_format=sent)
    assert predicted.choices[0].message.content == text
