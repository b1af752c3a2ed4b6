"""What every answer and every stream must look like, whatever was asked (contract, sections 5 and 6)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel, ValidationError

HEAD = ("id", "object", "created", "model", "service_tier", "system_fingerprint")
CUSTOM_CALL = re.compile(r"choices\.\d+\.delta\.tool_calls\.\d+\.(custom|type)$")
"""The SDK's chunk knows function calls only; this shape is the community's (contract 6.6)."""
NO_LOGPROBS: dict[str, list[object] | None] = {"content": [], "refusal": None}


def strict_faults(model: type[BaseModel], sent: str) -> list[str]:
    """Where `sent` is not exactly what the SDK's type says: no key too many, no value of another type."""
    try:
        model.model_validate_json(sent, strict=True, extra="forbid")
    except ValidationError as error:
        found = [(".".join(map(str, fault["loc"])), fault["msg"]) for fault in error.errors()]
        return [f"{at}: {message}" for at, message in found if not CUSTOM_CALL.search(at)]
    return []


def check_completion(sent: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """A plain answer, as JSON."""
    assert strict_faults(ChatCompletion, sent) == []
    body: dict[str, Any] = json.loads(sent)
    assert tuple(body) == (*HEAD[:4], "choices", "usage", "service_tier", "system_fingerprint")
    assert re.fullmatch(r"chatcmpl-[0-9A-Za-z]{29}", body["id"])
    assert re.fullmatch(r"fp_[0-9a-f]{10}", body["system_fingerprint"])
    assert [choice["index"] for choice in body["choices"]] == list(range(fields.get("n") or 1))
    for choice in body["choices"]:
        assert list(choice) == ["index", "message", "logprobs", "finish_reason"]
        assert (choice["logprobs"] is not None) == bool(fields.get("logprobs"))
        assert choice["message"]["annotations"] == []
        if choice["logprobs"]:
            check_listed(choice["logprobs"]["content"], choice["message"]["content"] or "", fields)
    check_usage(body["usage"])
    return body


def check_listed(listed: Sequence[Mapping[str, Any]], text: str, fields: Mapping[str, Any]) -> None:
    """The bytes of the listed tokens are the visible text; one that a stop string cut is whole."""
    written = b"".join(bytes(token["bytes"]) for token in listed)
    assert written.startswith(text.encode())
    assert fields.get("stop") or written == text.encode()
    assert all(len(token["top_logprobs"]) <= (fields.get("top_logprobs") or 0) for token in listed)


def check_usage(usage: Mapping[str, Any]) -> None:
    """The invariants of section 5.4."""
    prompt, completion = usage["prompt_tokens_details"], usage["completion_tokens_details"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert prompt["cached_tokens"] + prompt["cache_write_tokens"] <= usage["prompt_tokens"]
    hidden = ("reasoning_tokens", "audio_tokens", "rejected_prediction_tokens")
    assert sum(completion[name] for name in hidden) <= usage["completion_tokens"]
    assert min(*prompt.values(), *completion.values()) >= 0


class Stream(NamedTuple):
    """The events of one stream, and the chunks in them."""

    events: list[str]
    chunks: list[dict[str, Any]]


def read_stream(lines: Iterable[str]) -> Stream:
    """Events only, each on one line, closed by `[DONE]`; comments may stand between them (section 6.1)."""
    events = []
    for line in lines:
        assert line == "" or line.startswith((":", "data: ")), line
        if line.startswith("data: "):
            events.append(line.removeprefix("data: "))
    assert events[-1] == "[DONE]"
    return Stream(events[:-1], [json.loads(event) for event in events[:-1]])


def check_stream(stream: Stream, fields: Mapping[str, Any]) -> None:
    """Every rule of section 6 that a stream without an error has to keep."""
    for event in stream.events:
        assert strict_faults(ChatCompletionChunk, event) == []
    options = fields.get("stream_options") or {}
    assert len({tuple(chunk[key] for key in HEAD) for chunk in stream.chunks}) == 1
    _check_usage_keys(stream.chunks, include_usage=options.get("include_usage", False))
    _check_obfuscation(stream, include_obfuscation=options.get("include_obfuscation", True))
    speaking = [chunk for chunk in stream.chunks if chunk["choices"]]
    assert all(len(chunk["choices"]) == 1 for chunk in speaking)
    opened = list(dict.fromkeys(chunk["choices"][0]["index"] for chunk in speaking))
    assert opened == list(range(fields.get("n") or 1)), "choices begin in order, index 0 first"
    for index in opened:
        own = [chunk["choices"][0] for chunk in speaking if chunk["choices"][0]["index"] == index]
        _check_choice(own, has_logprobs=bool(fields.get("logprobs")))


def _check_usage_keys(chunks: Sequence[Mapping[str, Any]], *, include_usage: bool) -> None:
    keys = (*HEAD, "choices", *(["usage"] if include_usage else []))
    assert all(tuple(key for key in chunk if key != "obfuscation") == keys for chunk in chunks)
    assert all(chunk["choices"] for chunk in (chunks[:-1] if include_usage else chunks))
    if include_usage:
        assert all(chunk["usage"] is None for chunk in chunks[:-1])
        assert chunks[-1]["choices"] == []
        check_usage(chunks[-1]["usage"])


def _check_obfuscation(stream: Stream, *, include_obfuscation: bool) -> None:
    """The last key; lengths of chunks with a choice are alike modulo 16 (section 6.9)."""
    if not include_obfuscation:
        assert not any("obfuscation" in chunk for chunk in stream.chunks)
        return
    remainders = set()
    for event, chunk in zip(stream.events, stream.chunks, strict=True):
        assert list(chunk)[-1] == "obfuscation"
        assert re.fullmatch(r"[0-9A-Za-z]{0,15}", chunk["obfuscation"])
        if chunk["choices"]:
            remainders.add(len(event.encode()) % 16)
        else:
            assert chunk["obfuscation"] == ""
    assert len(remainders) == 1


def _check_choice(own: Sequence[Mapping[str, Any]], *, has_logprobs: bool) -> None:
    """Role chunk, content, finish chunk (sections 6.3, 6.4, 6.6, 6.8)."""
    first, *middle, last = own
    assert all(list(choice) == ["index", "delta", "logprobs", "finish_reason"] for choice in own)
    assert first["delta"]["role"] == "assistant"
    assert not any("role" in choice["delta"] for choice in own[1:])
    assert first["logprobs"] == (NO_LOGPROBS if has_logprobs else None)
    assert all(choice["finish_reason"] is None for choice in own[:-1])
    assert last["finish_reason"] is not None
    assert (last["delta"], last["logprobs"]) == ({}, None)
    for choice in middle:
        assert choice["delta"], "a chunk that says nothing"
        has_text = "content" in choice["delta"]
        assert (choice["logprobs"] is not None) == (has_logprobs and has_text)
    _check_calls([call for choice in own for call in choice["delta"].get("tool_calls", ())])


def _check_calls(pieces: Sequence[Mapping[str, Any]]) -> None:
    """Indexes from 0 without gaps; id, type and name come once, first, and no call is taken up again."""
    order = [piece["index"] for piece in pieces]
    assert order == sorted(order)
    assert sorted(set(order)) == list(range(len(set(order))))
    for index in set(order):
        head, *rest = [piece for piece in pieces if piece["index"] == index]
        kind = head["type"]
        assert re.fullmatch(r"call_[0-9A-Za-z]{24}", head["id"])
        assert head[kind]["name"]
        assert not any("id" in piece or "type" in piece or "name" in piece[kind] for piece in rest)
