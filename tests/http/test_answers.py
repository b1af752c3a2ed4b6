"""Answers through the official client, streamed and not."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

import openai
import pytest

from completionist.engine.base import PlainText, Prompt
from completionist.engine.scripted import Move
from tests.conftest import Serve
from tests.support import raw
from tests.support.ask import ask, ask_async, ask_streamed, ask_streamed_async, text_of
from tests.support.server import MODEL, RunningServer

TIDES = ["High", " water", " is", " at", " 06:12", ". 🌊"]


def tides(prompt: Prompt) -> list[list[Move]]:
    return [[f"{i}:".encode() * (prompt.n > 1) + piece.encode() for piece in TIDES] for i in range(prompt.n)]


@pytest.fixture
def tide_server(serve: Serve) -> RunningServer:
    return serve(tides)


@pytest.fixture
def tide_client(tide_server: RunningServer, client_of: Callable[..., openai.OpenAI]) -> openai.OpenAI:
    return client_of(tide_server)


def test_a_plain_answer_has_everything(tide_client: openai.OpenAI) -> None:
    answer = ask(tide_client)
    (choice,) = answer.choices
    assert choice.message.content == "".join(TIDES)
    assert (choice.message.role, choice.message.refusal, choice.message.annotations) == ("assistant", None, [])
    assert (choice.finish_reason, choice.logprobs) == ("stop", None)
    assert answer.usage is not None
    assert answer.usage.completion_tokens == len(TIDES) + 1
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert (answer.object, answer.model, answer.service_tier) == ("chat.completion", MODEL, "default")
    assert answer.system_fingerprint == "fp_0000000000"
    assert answer.id.startswith("chatcmpl-")


def test_a_stream_is_role_text_finish(tide_client: openai.OpenAI) -> None:
    first, *texts, last = ask_streamed(tide_client)
    assert first.choices[0].delta.to_dict() == {"role": "assistant", "content": "", "refusal": None}
    assert text_of(texts) == "".join(TIDES)
    assert all(chunk.choices[0].finish_reason is None for chunk in (first, *texts))
    assert last.choices[0].delta.to_dict() == {}
    assert last.choices[0].finish_reason == "stop"
    for chunk in (first, *texts, last):
        assert "usage" not in chunk.to_dict()
        assert (chunk.id, chunk.created) == (first.id, first.created)
        assert (chunk.object, chunk.model) == ("chat.completion.chunk", MODEL)
        assert (chunk.service_tier, chunk.system_fingerprint) == ("default", "fp_0000000000")


def test_usage_is_the_last_chunk_and_null_before(tide_client: openai.OpenAI) -> None:
    *chunks, last = ask_streamed(tide_client, stream_options={"include_usage": True})
    assert all(chunk.to_dict()["usage"] is None for chunk in chunks)
    assert last.choices == []
    assert last.usage == ask(tide_client).usage


def test_obfuscation_hides_lengths_and_can_be_turned_off(
    tide_server: RunningServer, tide_client: openai.OpenAI
) -> None:
    with raw.connection(tide_server.port) as sock:
        body = raw.chat(stream=True, stream_options={"include_usage": True})
        sock.sendall(raw.request("POST", "/v1/chat/completions", "Connection: close", body=body))
        lines = re.findall(r"data: ({.*})", raw.read_to_end(sock).decode())
    assert len({len(line.encode()) % 16 for line in lines[:-1]}) == 1
    assert len({len(line.encode()) for line in lines[:-1]}) < len(TIDES)
    chunks = ask_streamed(tide_client, stream_options={"include_obfuscation": False, "include_usage": True})
    assert all("obfuscation" not in chunk.to_dict() for chunk in chunks)
    assert lines[-1].endswith('"obfuscation":""}')


def test_every_choice_opens_in_order_and_counts_once(tide_client: openai.OpenAI) -> None:
    chunks = ask_streamed(tide_client, n=3, stream_options={"include_usage": True})
    assert [chunk.choices[0].index for chunk in chunks[:3]] == [0, 1, 2]
    assert all(chunk.choices[0].delta.role == "assistant" for chunk in chunks[:3])
    assert sum(chunk.choices[0].finish_reason == "stop" for chunk in chunks[:-1]) == 3
    answer = ask(tide_client, n=3)
    assert [choice.message.content for choice in answer.choices] == [
        "".join(f"{i}:{piece}" for piece in TIDES) for i in range(3)
    ]
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3 * (len(TIDES) + 1)
    assert answer.usage == chunks[-1].usage


def test_the_token_limit_ends_with_length(tide_client: openai.OpenAI) -> None:
    answer = ask(tide_client, max_completion_tokens=2)
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("High water", "length")
    assert ask_streamed(tide_client, max_tokens=2)[-1].choices[0].finish_reason == "length"


def test_stop_strings_end_with_stop(tide_client: openai.OpenAI) -> None:
    answer = ask(tide_client, stop=[" at"])
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("High water is", "stop")


def test_an_empty_answer_has_role_and_finish_chunk(serve: Serve, client_of: Callable[..., openai.OpenAI]) -> None:
    client = client_of(serve(lambda _: [[]]))
    assert ask(client).choices[0].message.content == ""
    first, last = ask_streamed(client)
    assert (first.choices[0].delta.role, last.choices[0].finish_reason) == ("assistant", "stop")


def test_the_asynchronous_client_gets_the_same(tide_server: RunningServer) -> None:
    async def both() -> tuple[str | None, str]:
        async with openai.AsyncOpenAI(base_url=tide_server.base_url, api_key="x", max_retries=0) as client:
            answer = await ask_async(client)
            return answer.choices[0].message.content, text_of(await ask_streamed_async(client))

    assert asyncio.run(both()) == ("".join(TIDES), "".join(TIDES))


def test_many_at_once_are_kept_apart(serve: Serve) -> None:
    def parrot(prompt: Prompt) -> list[list[Move]]:
        texts = "".join(s.text for s in prompt.segments if isinstance(s, PlainText))
        (word,) = re.findall(r"word\d+", texts)
        return [[word.encode()] * 20]

    server = serve(parrot)

    async def ask_all() -> list[str | None]:
        async with openai.AsyncOpenAI(base_url=server.base_url, api_key="x", max_retries=0) as client:
            questions = [[{"role": "user", "content": f"word{i}"}] for i in range(40)]
            answers = await asyncio.gather(*(ask_async(client, messages=question) for question in questions))
            return [answer.choices[0].message.content for answer in answers]

    assert asyncio.run(ask_all()) == [f"word{i}" * 20 for i in range(40)]


@pytest.mark.parametrize("stream", [False, True])
def test_answers_carry_their_headers(tide_server: RunningServer, stream: bool) -> None:
    with raw.connection(tide_server.port) as sock:
        sock.sendall(raw.request("POST", "/v1/chat/completions", body=raw.chat(stream=stream)))
        headers = raw.read_head(sock).headers
    assert re.fullmatch(r"req_[0-9a-f]{32}", headers["x-request-id"])
    assert headers["openai-version"] == "2020-10-01"
    assert int(headers["openai-processing-ms"]) >= 0
    assert (headers["openai-organization"], headers["openai-project"]) == ("default", "default")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-type"] == ("text/event-stream; charset=utf-8" if stream else "application/json")
    assert ("content-length" in headers, headers.get("cache-control")) == (not stream, "no-cache" if stream else None)
    assert not [name for name in headers if name == "server" or name.startswith("access-control")]
