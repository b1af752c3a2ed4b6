"""Whatever is sent, the outcome is a frozen request or a refusal; both cross process borders."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from typing import Any, get_type_hints

import httpx2
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import OpenAI
from openai.types.chat.completion_create_params import (
    CompletionCreateParamsNonStreaming,
    CompletionCreateParamsStreaming,
)

from completionist.errors import APIError
from completionist.types.frozen import FrozenMap
from completionist.types.request import FIELDS, ChatRequest, Draft
from tests.wire.bodies import body, read

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)

GRAMMAR = {"syntax": "regex", "definition": "a"}
FULL: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "system", "content": [{"type": "text", "text": "json"}], "name": "n"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "x", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "30m"}},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}},
                {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
                {"type": "file", "file": {"filename": "a", "file_data": "data:text/plain;base64,AAAA"}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "refusal": None,
            "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                {"id": "b", "type": "custom", "custom": {"name": "c", "input": ""}},
            ],
        },
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        {"role": "tool", "tool_call_id": "b", "content": [{"type": "text", "text": "2"}]},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}], "audio": {"id": "a"}},
        {"role": "function", "name": "f", "content": None},
    ],
    "modalities": ["text"],
    "audio": {"voice": {"id": "v"}, "format": "pcm16"},
    "frequency_penalty": 0,
    "presence_penalty": 0.5,
    "logit_bias": {"1": 2},
    "logprobs": True,
    "top_logprobs": 2,
    "max_completion_tokens": 9,
    "metadata": {"a": "b"},
    "moderation": {"model": "m", "policy": {"input": {"mode": "score"}}},
    "n": 2,
    "parallel_tool_calls": True,
    "prompt_cache_key": "k",
    "prompt_cache_options": {"mode": "explicit"},
    "prompt_cache_retention": "24h",
    "reasoning_effort": "low",
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": {"type": "object", "properties": {"x": {"enum": [1, None, {}]}}}},
    },
    "safety_identifier": "s",
    "seed": 3,
    "service_tier": "flex",
    "stop": ["a"],
    "store": True,
    "stream": True,
    "stream_options": {"include_usage": True},
    "temperature": 1,
    "tool_choice": {
        "type": "allowed_tools",
        "allowed_tools": {"mode": "auto", "tools": [{"type": "custom", "custom": {"name": "c"}}]},
    },
    "tools": [
        {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "strict": True}},
        {
            "type": "custom",
            "custom": {"name": "c", "format": {"type": "grammar", "grammar": {"syntax": "regex", "definition": "a"}}},
        },
    ],
    "top_p": 1,
    "user": "u",
    "verbosity": "low",
    "web_search_options": {"user_location": {"type": "approximate", "approximate": {"city": "x"}}},
}


def outcome(raw: bytes) -> ChatRequest | APIError:
    """Anything else that is raised fails the test; so do a refusal that is no refusal and one that repeats the body."""
    try:
        return Draft.read(raw).request()
    except APIError as error:
        refused = error
    assert 400 <= refused.status < 500
    assert 0 < len(refused.message) < 2_000
    return refused


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value, the root left out."""
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for step, child in steps for place in ((*at, step), *places(child, (*at, step)))]


def changed(value: Any, place: tuple[Any, ...], change: Callable[[Any, Any], None]) -> Any:
    copy = json.loads(json.dumps(value))
    holder = copy
    for step in place[:-1]:
        holder = holder[step]
    change(holder, place[-1])
    return copy


PLACES = places(FULL)


def test_the_full_body_is_read() -> None:
    request = outcome(json.dumps(FULL).encode())
    assert isinstance(request, ChatRequest)
    assert pickle.loads(pickle.dumps(request)) == request  # noqa: S301  (our own bytes)


@given(values)
def test_any_json_is_read_or_refused(value: Any) -> None:
    outcome(json.dumps(value).encode())


@given(st.binary())
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    outcome(raw)


@given(st.sampled_from(sorted(field.name for field in FIELDS)), values)
def test_any_value_of_any_field_is_read_or_refused(field: str, value: Any) -> None:
    outcome(json.dumps(body(**{field: value})).encode())


@given(st.sampled_from(PLACES), values)
def test_any_value_in_any_place_is_read_or_refused(place: tuple[Any, ...], value: Any) -> None:
    def replace(holder: Any, step: Any) -> None:
        holder[step] = value

    outcome(json.dumps(changed(FULL, place, replace)).encode())


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_any_place_may_be_missing(place: tuple[Any, ...]) -> None:
    def drop(holder: Any, step: Any) -> None:
        del holder[step]

    outcome(json.dumps(changed(FULL, place, drop)).encode())


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b'{"model":"m"}',
        b'{"model":1}',
        json.dumps(body(n=0, zzz=1)).encode(),
        json.dumps(body(n=0)).encode(),
    ],
)
def test_a_refusal_crosses_process_borders(raw: bytes) -> None:
    error = outcome(raw)
    assert isinstance(error, APIError)
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  (our own bytes)
    assert type(again) is type(error)
    assert (again.message, again.param, again.error_code, again.status, str(again)) == (
        error.message,
        error.param,
        error.error_code,
        error.status,
        str(error),
    )


def test_drafts_cross_process_borders() -> None:
    draft = Draft.read(json.dumps(FULL).encode())
    assert pickle.loads(pickle.dumps(draft)) == draft  # noqa: S301  (our own bytes)


def test_nothing_in_a_request_can_be_changed() -> None:
    request = read(FULL)
    with pytest.raises(AttributeError):
        request.n = 5  # type: ignore[misc]  # that it is refused is the point
    with pytest.raises(TypeError):
        request.metadata["a"] = "c"  # type: ignore[index]  # that it is refused is the point
    assert _mutable_parts(request) == []


def _mutable_parts(value: object, at: str = "request") -> list[str]:
    """Where lists, sets or dicts are; JSON Schemas are left out: they are JSON."""
    if at.endswith((".schema", ".parameters")):
        return []
    if isinstance(value, msgspec.Struct):
        assert value.__struct_config__.frozen
        return [p for name in value.__struct_fields__ for p in _mutable_parts(getattr(value, name), f"{at}.{name}")]
    if isinstance(value, tuple):
        return [p for i, item in enumerate(value) for p in _mutable_parts(item, f"{at}[{i}]")]
    return [at] if isinstance(value, list | set | dict | bytearray) else []


def test_frozen_maps_are_values() -> None:
    source = {"a": 1}
    frozen = FrozenMap(source)
    source["a"] = 2
    assert (dict(frozen), len(frozen), frozen == {"a": 1}) == ({"a": 1}, 1, True)
    assert repr(frozen) == "FrozenMap({'a': 1})"


def test_fields_are_those_of_the_official_client() -> None:
    hints = set(get_type_hints(CompletionCreateParamsNonStreaming)) | set(
        get_type_hints(CompletionCreateParamsStreaming)
    )
    assert len(hints) == 37
    assert hints == set(ChatRequest.__struct_fields__) == {"model", *(field.name for field in FIELDS)}


def bodies_sent(call: Callable[[OpenAI], object]) -> list[bytes]:
    """The bodies that the official client sends for `call`; it is answered with an error, which ends the call."""
    sent: list[bytes] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        sent.append(request.content)
        return httpx2.Response(400, json={"error": {"message": "x", "type": "x", "param": None, "code": None}})

    with httpx2.Client(transport=httpx2.MockTransport(answer)) as http, pytest.raises(Exception, match="x"):
        call(OpenAI(api_key="k", base_url="http://test/v1", http_client=http, max_retries=0))
    return sent


def test_bodies_of_the_official_client_are_read() -> None:
    fields = {name: value for name, value in FULL.items() if name not in ("model", "messages")}
    (raw,) = bodies_sent(lambda client: client.chat.completions.create(model="m", messages=FULL["messages"], **fields))
    assert Draft.read(raw).request() == read(FULL)


def test_the_plainest_body_of_the_official_client_is_read() -> None:
    (raw,) = bodies_sent(
        lambda client: client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hello"}])
    )
    assert Draft.read(raw).request() == read(body())
