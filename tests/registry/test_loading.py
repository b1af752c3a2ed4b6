"""Several models in one server: loaded when they are asked for, shared, and let go of again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import openai
import pytest

from completionist.engine.base import Prompt
from completionist.engine.scripted import Move, Pause, friendly
from completionist.settings import Settings
from tests.conftest import Serve
from tests.registry.seconds import Second, loaded, those_here
from tests.support import raw
from tests.support.ask import ask, ask_streamed
from tests.support.server import MODEL, SETTINGS, RunningServer, eventually

Clients = Callable[..., openai.OpenAI]


def held(prompt: Prompt) -> list[list[Move]]:
    """Says a word and then nothing, for ever."""
    return [[b"word", Pause(math.inf)]] * prompt.n


def create(**fields: object) -> bytes:
    return raw.request("POST", "/v1/chat/completions", "Connection: close", body=raw.chat(**fields))


def quick_comments() -> Settings:
    return SETTINGS.model_copy(update={"server": SETTINGS.server.model_copy(update={"keep_alive_s": 0.02})})


def states(server: RunningServer) -> dict[str, str]:
    return {name: one["state"] for name, one in loaded(server).items()}


@contextmanager
def a_stream_under_way(server: RunningServer, model: str, **fields: object) -> Iterator[None]:
    """Somebody reads an answer of `model` that does not end."""
    with raw.connection(server.port) as sock:
        sock.sendall(create(model=model, stream=True, **fields))
        assert raw.read_head(sock).status == 200
        yield


def test_first_requests_wait_for_one_load(serve: Serve, client_of: Clients) -> None:
    second = Second()
    second.may_load.clear()
    server = serve(others=those_here(second))
    client = client_of(server)
    assert [model.id for model in client.models.list()] == [MODEL, "second"]
    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask, client, model="second") for _ in range(4)]
        eventually(lambda: states(server).get("second") == "loading")
        assert ask(client).model == MODEL  # nobody else waits for it
        second.may_load.set()
        assert {answer.result().model for answer in asking} == {"second"}
    assert second.n_loads == 1
    assert server.metric("model_loads_total", model_name="second", outcome="loaded") == 1
    assert server.metric("engine_ready", model_name="second") == 1


@pytest.mark.parametrize("reason", [None, "no memory"])
def test_other_models_rest_between_their_steps_while_one_is_loaded(
    serve: Serve, client_of: Clients, monkeypatch: pytest.MonkeyPatch, reason: str | None
) -> None:
    second = Second()
    second.reason = reason
    second.may_load.clear()
    server = serve(others=those_here(second))
    told: list[bool] = []
    monkeypatch.setattr(server.engine, "rest", lambda *, is_wanted: told.append(is_wanted))
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask, client_of(server), model="second")
        eventually(lambda: told == [True])
        second.may_load.set()
        assert isinstance(asking.exception(), openai.APIError if reason else type(None))
    assert told == [True, False]


def test_a_load_knows_whether_anybody_is_being_answered(serve: Serve, client_of: Clients) -> None:
    second = Second(keep_alive_s=0)
    server = serve(held, others=those_here(second))
    ask(client_of(server), model="second")
    eventually(lambda: "second" not in states(server))
    with a_stream_under_way(server, MODEL):
        ask(client_of(server), model="second")
    assert second.beside == ["models", "answers"]


def test_an_idle_model_is_let_go_of_and_comes_back(serve: Serve, client_of: Clients) -> None:
    second = Second(keep_alive_s=0)
    server = serve(others=those_here(second))
    for n in (1, 2):
        assert ask(client_of(server), model="second").model == "second"
        eventually(lambda: "second" not in states(server))
        assert second.n_loads == n
    assert server.metric("model_unloads_total", model_name="second", reason="idle") == 2
    assert server.metric("engine_ready", model_name="second") == 0  # nothing is shown of what is not there
    assert states(server) == {MODEL: "loaded"}


def test_a_model_that_answers_is_kept(serve: Serve) -> None:
    second = Second(script=held, keep_alive_s=0)
    server = serve(others=those_here(second))
    with a_stream_under_way(server, "second"):
        one = loaded(server)["second"]
        assert (one["state"], one["requests"], one["unload_at"]) == ("loaded", 1, None)
    eventually(lambda: "second" not in states(server))


def test_the_least_useful_goes_when_memory_is_short(serve: Serve, client_of: Clients) -> None:
    others = [Second(), Second("third", script=held)]
    for other in others:
        other.need_bytes = 50
    server: RunningServer = serve(
        lambda prompt: held(prompt) if prompt.max_tokens == 2 else friendly(prompt),
        others=those_here(*others),
        free_bytes=lambda _: 100 - 50 * list(states(server).values()).count("loaded"),
    )
    client = client_of(server)
    ask(client, model="second")
    ask(client)
    with a_stream_under_way(server, "third"):  # the second had to go: it was used before the first
        assert states(server) == {MODEL: "loaded", "third": "loaded"}
        assert server.metric("model_unloads_total", model_name="second", reason="memory") == 1
        with a_stream_under_way(server, MODEL, max_tokens=2):
            with pytest.raises(openai.InternalServerError, match="needs 0 MB of memory and 0 MB are free") as caught:
                ask(client, model="second")
            assert (caught.value.status_code, caught.value.code) == (503, "server_is_overloaded")
    eventually(lambda: not any(one["requests"] for one in loaded(server).values()))
    assert ask(client, model="second").model == "second"


def test_a_model_that_cannot_be_loaded_says_why_and_is_not_tried_at_once_again(
    serve: Serve, client_of: Clients
) -> None:
    second = Second()
    second.reason = "its file is damaged"
    server = serve(others=those_here(second))
    client = client_of(server, max_retries=2)
    for stream in (False, True):
        with pytest.raises(openai.InternalServerError, match="cannot be loaded: its file is damaged") as caught:
            (ask_streamed if stream else ask)(client, model="second")
        assert (caught.value.status_code, caught.value.code) == (503, "model_load_failed")
        assert 1 <= int(caught.value.response.headers["retry-after"]) <= 5
    assert second.n_loads == 1
    second.reason, second.version = None, 2  # another file now: nothing is held against it
    server.look_again()
    assert ask(client, model="second").model == "second"


def test_a_stream_hears_that_its_model_is_coming(serve: Serve) -> None:
    second = Second()
    second.may_load.clear()
    server = serve(settings=quick_comments(), others=those_here(second))
    with raw.connection(server.port) as sock:
        sock.sendall(create(model="second", stream=True))
        assert raw.read_head(sock).status == 200
        while b": keep-alive" not in sock.recv(4096):
            pass
        second.may_load.set()
        assert b"data: [DONE]" in raw.read_to_end(sock)


def test_what_goes_wrong_after_that_is_an_event(serve: Serve) -> None:
    second = Second()
    second.reason = "its file is damaged"
    second.may_load.clear()
    server = serve(settings=quick_comments(), others=those_here(second))
    with raw.connection(server.port) as sock:
        sock.sendall(create(model="second", stream=True))
        assert raw.read_head(sock).status == 200
        second.may_load.set()
        received = b""
        while b"[DONE]" not in received:
            received += sock.recv(4096)
    assert b"its file is damaged" in received


@pytest.mark.parametrize("stream", [False, True])
def test_who_leaves_is_not_waited_for(serve: Serve, stream: bool) -> None:
    second = Second(keep_alive_s=0)
    second.may_load.clear()
    server = serve(others=those_here(second))
    with raw.connection(server.port) as sock:
        sock.sendall(create(model="second", stream=stream))
        eventually(lambda: loaded(server).get("second", {}).get("requests") == 1)
    eventually(lambda: loaded(server)["second"]["requests"] == 0)
    eventually(lambda: server.metric("requests_cancelled_total") == 1)
    second.may_load.set()
    eventually(lambda: "second" not in states(server))  # loaded for nobody: it goes again
    assert server.metric("model_unloads_total", model_name="second", reason="idle") == 1


def test_a_model_whose_file_is_gone_finishes_and_goes(serve: Serve, client_of: Clients) -> None:
    second = Second(script=held)
    server = serve(others=those_here(second))
    client = client_of(server)
    with a_stream_under_way(server, "second"):
        second.is_here = False
        server.look_again()
        with pytest.raises(openai.NotFoundError) as caught:
            ask(client, model="second")
        assert caught.value.code == "model_not_found"
        assert [model.id for model in client.models.list()] == [MODEL]
        assert states(server)["second"] == "leaving"
    eventually(lambda: "second" not in states(server))
    assert server.metric("model_unloads_total", model_name="second", reason="replaced") == 1


def test_stopping_waits_for_answers_and_those_who_come_meanwhile_for_the_next_load(
    serve: Serve, client_of: Clients
) -> None:
    second = Second(script=lambda prompt: held(prompt) if prompt.max_tokens == 2 else friendly(prompt))
    server = serve(others=those_here(second))
    with ThreadPoolExecutor(2) as pool:
        with a_stream_under_way(server, "second", max_tokens=2):
            stopping = pool.submit(server.on_loop, server.registry.stop("second"))
            eventually(lambda: states(server)["second"] == "leaving")
            asking = pool.submit(ask, client_of(server), model="second")
            assert not stopping.done()
        stopping.result()
        assert asking.result().model == "second"
    assert second.n_loads == 2
