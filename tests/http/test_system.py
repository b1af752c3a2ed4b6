"""Models, health and metrics."""

from __future__ import annotations

import time
from collections.abc import Callable

import openai
import pytest

from completionist.engine.base import Prompt
from completionist.engine.scripted import Crash, Move
from completionist.settings import ServedSettings
from tests.conftest import Serve
from tests.support import raw
from tests.support.ask import ask
from tests.support.server import CREATED, MODEL, SETTINGS, RunningServer


def test_models_through_the_official_client(client: openai.OpenAI) -> None:
    (model,) = client.models.list().data
    assert model.to_dict() == client.models.retrieve(MODEL).to_dict()
    assert model.to_dict() == {
        "id": MODEL,
        "object": "model",
        "created": CREATED,
        "owned_by": "tests",
        "shutdown_date": None,
    }


def test_models_may_not_be_deleted(client: openai.OpenAI) -> None:
    with pytest.raises(openai.PermissionDeniedError, match=r"You have insufficient permissions for this operation\."):
        client.models.delete(MODEL)


@pytest.mark.parametrize("name", ["nobody", "ft:base:org::id", "a/b", "../x", "scripted ", "é"])
def test_unknown_models(client: openai.OpenAI, name: str) -> None:
    for call in (client.models.retrieve, client.models.delete):
        with pytest.raises(openai.NotFoundError) as caught:
            call(name)
        assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
        assert caught.value.body is not None
        assert f"The model `{name}` does not exist" in str(caught.value)


def test_names_with_slashes_and_colons_are_found(serve: Serve, client_of: Callable[..., openai.OpenAI]) -> None:
    name = "ft:lab/base:org::id 1%"
    server = serve(settings=SETTINGS.model_copy(update={"served": {name: ServedSettings(model=MODEL)}}))
    assert client_of(server).models.retrieve(name).id == name
    unescaped = raw.request("GET", "/v1/models/ft:lab/base:org::id%201%25")
    assert raw.send(server.port, unescaped).status == 200


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready"])
def test_health(shared_server: RunningServer, path: str) -> None:
    reply = raw.send(shared_server.port, raw.request("GET", path))
    assert (reply.status, raw.json_of(reply)["status"]) == (200, "ok")
    assert "x-request-id" in reply.headers


def test_a_lost_engine_shows_in_readiness_and_not_in_liveness(
    serve: Serve, client_of: Callable[..., openai.OpenAI]
) -> None:
    def crashing(prompt: Prompt) -> list[list[Move]]:
        return [[b"x", Crash(restart_s=60)]] * prompt.n

    server = serve(crashing)
    with pytest.raises(openai.InternalServerError) as caught:
        ask(client_of(server))
    assert caught.value.response.headers["x-should-retry"] == "true"
    ready = raw.send(server.port, raw.request("GET", "/health/ready"))
    assert (ready.status, ready.headers["retry-after"], ready.error["type"]) == (503, "1", "service_unavailable_error")
    assert raw.send(server.port, raw.request("GET", "/health/live")).status == 200
    with pytest.raises(openai.InternalServerError) as caught:
        ask(client_of(server))
    assert (caught.value.status_code, caught.value.code) == (503, "server_is_overloaded")
    assert 1 <= int(caught.value.response.headers["retry-after"]) <= 120
    assert server.metric("engine_ready", model_name=MODEL) == 0
    server.engine._ready_at_s = time.monotonic()
    assert raw.send(server.port, raw.request("GET", "/health/ready")).status == 200
    assert server.metric("engine_ready", model_name=MODEL) == 1
    assert server.metric("requests_failed_total") == 1
    assert server.metric("requests_refused_total", code="server_is_overloaded") == 1


def test_metrics_count_what_was_done(serve: Serve, client_of: Callable[..., openai.OpenAI]) -> None:
    server = serve()
    answer = ask(client_of(server), n=2)
    assert answer.usage is not None
    assert server.metric("request_success_total", finished_reason="stop") == 2
    assert server.metric("prompt_tokens_total") == answer.usage.prompt_tokens
    assert server.metric("generation_tokens_total") == answer.usage.completion_tokens
    assert server.metric("e2e_request_latency_seconds_count") == 1
    assert server.metric("num_requests_running", model_name=MODEL) == 0
    reply = raw.send(server.port, raw.request("GET", "/metrics"))
    assert reply.headers["content-type"].startswith("text/plain; version=")
