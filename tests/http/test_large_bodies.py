"""Large bodies are decoded elsewhere, so that nobody waits for them."""

from __future__ import annotations

import json
import pickle
import threading

import psutil
import pytest

from completionist.api.decoder import MAX_BODY_BYTES_HERE
from completionist.errors import (
    APIError,
    ContextLengthExceeded,
    InvalidType,
    MethodNotAllowed,
    ModelNotFound,
    Overloaded,
    UnsupportedValue,
)
from tests.conftest import Serve
from tests.support import raw
from tests.support.server import RunningServer

LARGE = "x " * (512 * 1024)


def post(server: RunningServer, body: bytes) -> raw.Reply:
    return raw.send(server.port, raw.request("POST", "/v1/chat/completions", body=body))


def large(n_messages: int = 5, **fields: object) -> bytes:
    """A body over the border, each text within the contract's limit."""
    body = raw.chat(messages=[{"role": "user", "content": LARGE}] * n_messages, **fields)
    assert len(body) > MAX_BODY_BYTES_HERE
    return body


def test_large_bodies_get_the_same_answers_and_the_loop_stays_free(serve: Serve) -> None:
    """The guard of the server's loop would complain."""
    server = serve()
    too_long = post(server, large())
    assert (too_long.status, too_long.error["code"]) == (400, "context_length_exceeded")
    wrong = post(server, large(n=0))
    assert (wrong.status, wrong.error["code"], wrong.error["param"]) == (400, "integer_below_min_value", "n")
    unknown = post(server, large(model="nobody", n=0))
    assert (unknown.status, unknown.error["code"]) == (404, "model_not_found")
    broken = post(server, large()[:-1])
    assert (broken.status, broken.error["code"]) == (400, None)
    padded = post(server, raw.chat() + b" " * MAX_BODY_BYTES_HERE)
    assert padded.status == 200


def test_many_small_parts_are_judged_and_rendered_off_the_loop(serve: Serve) -> None:
    """Objects cost more than characters: 12,000 of them come back from the helper, are checked, and freed again."""
    server = serve()
    parts = [{"type": "text", "text": f"High water is at {i} in the harbour."} for i in range(1000)]
    body = raw.chat(messages=[{"role": "user", "content": parts}] * 12)
    too_long = post(server, body)
    assert (too_long.status, too_long.error["code"]) == (400, "context_length_exceeded")


def test_small_requests_are_answered_while_a_large_one_is_decoded(serve: Serve) -> None:
    server = serve()
    nested = json.dumps({"model": "scripted", "messages": [[{"a": [1.5] * 8}] * 200_000]}).encode()
    replies: list[raw.Reply] = []
    thread = threading.Thread(target=lambda: replies.append(post(server, nested)))
    thread.start()
    while thread.is_alive():
        assert post(server, raw.chat(max_tokens=1)).status == 200
    thread.join()
    assert (replies[0].status, replies[0].error["code"]) == (400, "invalid_type")


def test_a_killed_helper_is_replaced(serve: Serve) -> None:
    server = serve()
    for _ in range(2):
        assert post(server, large(n=0)).status == 400
        (helper,) = [p for p in psutil.Process().children() if "spawn_main" in " ".join(p.cmdline())]
        helper.kill()
        helper.wait(timeout=20)


@pytest.mark.parametrize(
    "error",
    [
        InvalidType("n", expected="an integer", got="null"),
        UnsupportedValue("verbosity", "'low'", ["medium"]),
        ContextLengthExceeded(prompt_tokens=2, context_tokens=1),
        MethodNotAllowed("GET", "/", ["POST"]),
        ModelNotFound("m", param="model"),
        Overloaded(retry_after_s=3),
    ],
)
def test_errors_survive_the_way_between_processes(error: APIError) -> None:
    back = pickle.loads(pickle.dumps(error))  # noqa: S301 (our own bytes)
    assert type(back) is type(error)
    for name in ("message", "param", "error_code", "status", "type", "headers"):
        assert getattr(back, name) == getattr(error, name)
    assert str(back) == str(error)
