"""Every feature, plain and streamed, over a real port: exact shapes, and a stream that adds up to the plain answer."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from completionist.api.openapi import document
from completionist.api.routes import ROUTES
from tests.contract.cases import REAL, SCRIPTED, Case
from tests.contract.conftest import Asker
from tests.contract.shapes import Stream, check_completion, check_stream, strict_faults

SPEC = Path(os.environ.get("COMPLETIONIST_SPEC") or Path(__file__).parents[3] / "shared/spec/openapi-chat.yaml")
"""The published schema, where it is at hand."""
OPTIONS: tuple[dict[str, bool], ...] = (
    {},
    {"include_usage": True, "include_obfuscation": False},
    {"include_usage": True},
)


class Published:
    """The schemas of a document by name; answers and chunks are held to them."""

    def __init__(self, name: str, contents: Mapping[str, Any], completion: str, chunk: str) -> None:
        registry: Registry[Any] = Registry().with_resource(name, DRAFT202012.create_resource(contents))

        def validator(component: str) -> Draft202012Validator:
            return Draft202012Validator({"$ref": f"{name}#/components/schemas/{component}"}, registry=registry)

        self.completion, self.chunk = validator(completion), validator(chunk)

    def check(self, completion: Mapping[str, Any], chunks: Sequence[Mapping[str, Any]]) -> None:
        assert [error.message for error in self.completion.iter_errors(completion)] == []
        assert [error.message for chunk in chunks for error in self.chunk.iter_errors(chunk)] == []


@pytest.fixture(scope="module")
def published() -> list[Published]:
    """Our own document always; the vendor's too where it is there."""
    documents = [Published("own", document(ROUTES), "ChatCompletion", "Chunk")]
    if SPEC.is_file():
        vendor = yaml.safe_load(SPEC.read_text(encoding="utf-8"))
        documents.append(
            Published("vendor", vendor, "CreateChatCompletionResponse", "CreateChatCompletionStreamResponse")
        )
    return documents


@pytest.mark.parametrize("case", SCRIPTED, ids=lambda case: case.name)
def test_scripted_answers(scripted: Asker, published: list[Published], case: Case) -> None:
    whole = check_case(scripted, published, case, is_exact=True)
    for choice in whole["choices"]:
        assert (choice["message"]["content"], choice["finish_reason"]) == (case.content, case.finish)


@pytest.mark.model
@pytest.mark.parametrize("case", REAL, ids=lambda case: case.name)
def test_answers_of_the_real_model(real: Asker, published: list[Published], case: Case) -> None:
    whole = check_case(real, published, case, is_exact=False)
    expected = {"length", case.finish} if case.finish else {"length", "stop", "tool_calls"}
    assert {choice["finish_reason"] for choice in whole["choices"]} <= expected


def check_case(asker: Asker, published: list[Published], case: Case, *, is_exact: bool) -> dict[str, Any]:
    """`is_exact`: probabilities are those of a script, which are the same every time."""
    fields = asker.fields(case)
    whole = check_completion(asker.plain(case), fields)
    for options in OPTIONS if is_exact else OPTIONS[-1:]:
        stream = asker.streamed(case, **options)
        check_stream(stream, {**fields, "stream_options": options})
        assert comparable(accumulated(stream), is_exact) == comparable(whole, is_exact)
        if options.get("include_usage"):
            assert countable(stream.chunks[-1]["usage"]) == countable(whole["usage"])
        for one in published:
            one.check(whole, stream.chunks)
    return whole


def accumulated(stream: Stream) -> dict[str, Any]:
    """What the official client makes of the chunks."""
    state = ChatCompletionStreamState()
    for event in stream.events:
        state.handle_chunk(ChatCompletionChunk.construct(**json.loads(event)))  # as the client itself does
    folded: dict[str, Any] = state.current_completion_snapshot.model_dump(exclude_unset=True, warnings=False)
    return folded


def comparable(completion: Mapping[str, Any], is_exact: bool) -> list[Any]:
    """What both ways of answering have alike: ids are drawn anew, and annotations are not streamed when there are none."""
    return [
        {
            "index": choice["index"],
            "finish_reason": choice["finish_reason"],
            "content": choice["message"].get("content"),
            "refusal": choice["message"].get("refusal"),
            "reasoning_content": choice["message"].get("reasoning_content"),
            "function_call": choice["message"].get("function_call"),
            "tool_calls": [_call(call) for call in choice["message"].get("tool_calls") or ()],
            "tokens": [_token(token, is_exact) for token in (choice.get("logprobs") or {}).get("content") or ()],
        }
        for choice in completion["choices"]
    ]


def _call(call: Mapping[str, Any]) -> Mapping[str, Any]:
    kept = {"type": call["type"], call["type"]: dict(call[call["type"]])}
    kept[call["type"]].pop("parsed_arguments", None)
    return kept


def _token(token: Mapping[str, Any], is_exact: bool) -> object:
    return dict(token) if is_exact else (token["token"], token["bytes"])


def countable(usage: Mapping[str, Any]) -> tuple[Any, ...]:
    """Of the prompt a second question may find more in the cache."""
    return usage["prompt_tokens"], usage["completion_tokens"], usage["completion_tokens_details"]


def test_the_checks_find_what_does_not_belong(scripted: Asker, published: list[Published]) -> None:
    case = SCRIPTED[0]
    whole, chunk = json.loads(scripted.plain(case)), scripted.streamed(case).chunks[1]
    for model, good in ((ChatCompletion, whole), (ChatCompletionChunk, chunk)):
        assert strict_faults(model, json.dumps(good)) == []
        for place in (good, good["choices"][0], good["choices"][0].get("message") or good["choices"][0]["delta"]):
            place["invented"] = 1
            assert strict_faults(model, json.dumps(good))
            own = published[0].completion if model is ChatCompletion else published[0].chunk
            assert not own.is_valid(good)
            del place["invented"]
        assert strict_faults(model, json.dumps({**good, "created": "now"}))
