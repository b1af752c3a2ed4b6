"""Bodies to send, and the refusal they meet."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest

from completionist.errors import APIError
from completionist.types.request import ChatRequest, Draft

HELLO: dict[str, Any] = {"role": "user", "content": "hello"}


class Refusal(NamedTuple):
    code: str | None
    param: str | None
    message: str


def body(**fields: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [HELLO], **fields}


def chat(*messages: object, **fields: Any) -> dict[str, Any]:
    return {"model": "m", "messages": list(messages), **fields}


def read(sent: bytes | dict[str, Any]) -> ChatRequest:
    raw = sent if isinstance(sent, bytes) else json.dumps(sent, ensure_ascii=False).encode()
    return Draft.read(raw).request()


def refusal(sent: bytes | dict[str, Any]) -> Refusal:
    """What the client is told; the status and type of all refusals of bodies are the same."""
    with pytest.raises(APIError) as caught:
        read(sent)
    error = caught.value
    assert (error.status, error.type) == (400, "invalid_request_error")
    return Refusal(error.error_code, error.param, error.message)


def missing(param: str) -> Refusal:
    return Refusal("missing_required_parameter", param, f"Missing required parameter: '{param}'.")


def unknown(param: str) -> Refusal:
    return Refusal("unknown_parameter", param, f"Unknown parameter: '{param}'.")


def wrong_type(param: str, expected: str, got: str) -> Refusal:
    return Refusal("invalid_type", param, f"Invalid type for '{param}': expected {expected}, but got {got} instead.")


def wrong_value(param: str, value: str, listed: str) -> Refusal:
    return Refusal("invalid_value", param, f"Invalid value: '{value}'. Supported values are: {listed}.")


def too_long(param: str, maximum: int, length: int) -> Refusal:
    return Refusal(
        "string_above_max_length",
        param,
        f"Invalid '{param}': string too long. Expected a string with maximum length {maximum}, "
        f"but got a string with length {length} instead.",
    )


def empty_string(param: str) -> Refusal:
    return Refusal(
        "empty_string",
        param,
        f"Invalid '{param}': empty string. Expected a string with minimum length 1, but got an empty string instead.",
    )


def empty_array(param: str) -> Refusal:
    return Refusal(
        "empty_array",
        param,
        f"Invalid '{param}': empty array. Expected an array with minimum length 1, but got an empty array instead.",
    )


def long_array(param: str, maximum: int, length: int) -> Refusal:
    return Refusal(
        "array_above_max_length",
        param,
        f"Invalid '{param}': array too long. Expected an array with maximum length {maximum}, "
        f"but got an array with length {length} instead.",
    )


def below(param: str, minimum: int, got: str, *, kind: str = "integer") -> Refusal:
    return Refusal(
        f"{kind}_below_min_value",
        param,
        f"Invalid '{param}': {kind} below minimum value. Expected a value >= {minimum}, but got {got} instead.",
    )


def above(param: str, maximum: int, got: str, *, kind: str = "integer") -> Refusal:
    return Refusal(
        f"{kind}_above_max_value",
        param,
        f"Invalid '{param}': {kind} above maximum value. Expected a value <= {maximum}, but got {got} instead.",
    )


def pattern(param: str) -> Refusal:
    return Refusal(
        "invalid_value",
        param,
        f"Invalid '{param}': string does not match pattern. "
        "Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'.",
    )
