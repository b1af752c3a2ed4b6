"""A streamed answer adds up to the plain one, however the tokens cut its bytes.

The script's tokens are random slices of random text, through characters and stop strings; the official client's own
accumulator puts the chunks together.
"""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion

from completionist.engine.scripted import Move
from tests.support.ask import ask, ask_streamed, official, text_of
from tests.support.examples import examples
from tests.support.server import RunningServer, running_server

TEXTS = st.text(st.sampled_from("ab \n<>né中🌊👩\u200d👧\u0301"), max_size=30)
STOPS = st.one_of(
    st.none(), st.lists(st.text(st.sampled_from("ab<>é🌊"), min_size=1, max_size=3), min_size=1, max_size=4)
)


@st.composite
def tokens(draw: st.DrawFn) -> list[Move]:
    """The bytes of a text in pieces of 1 to 6 bytes, now and then an empty one; sometimes cut short in a character."""
    data = draw(TEXTS).encode()
    data = data[: len(data) - draw(st.sampled_from([0, 0, 0, 1, 2]))]
    pieces: list[Move] = []
    while data:
        size = draw(st.integers(0, 6))
        pieces.append(data[:size])
        data = data[size:]
    return pieces


@pytest.fixture(scope="module")
def same_server() -> Iterator[RunningServer]:
    with running_server() as server:
        yield server


@pytest.fixture(scope="module")
def same_client(same_server: RunningServer) -> Iterator[openai.OpenAI]:
    with official(same_server.base_url, api_key="x", max_retries=0) as client:
        yield client


def accumulated(client: openai.OpenAI, **fields: object) -> ChatCompletion:
    state = ChatCompletionStreamState()
    for chunk in ask_streamed(client, stream_options={"include_usage": True}, **fields):
        state.handle_chunk(chunk)
    return state.current_completion_snapshot


def comparable(answer: ChatCompletion) -> dict[str, object]:
    """All of an answer but what tells one answer from the next, and what only one of the two forms has."""
    shown = answer.model_dump(exclude={"id", "created", "object"})
    for choice in shown["choices"]:
        choice["message"].pop("annotations")  # [] in the plain form; a stream sends annotations only if there are any
        choice["message"].pop("parsed", None)  # the accumulator's own
    return shown


@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    choices=st.lists(tokens(), min_size=1, max_size=3),
    stop=STOPS,
    max_tokens=st.one_of(st.none(), st.integers(1, 20)),
)
@example(choices=[["🌊".encode()[:2], "🌊".encode()[2:], b"<", b"stop>", b"x"]], stop=["<stop>"], max_tokens=None)
@example(choices=[["é".encode()[:1]]], stop=None, max_tokens=1)
@example(choices=[[], [b"a"]], stop=["a"], max_tokens=None)
def test_the_stream_adds_up_to_the_plain_answer(
    same_server: RunningServer,
    same_client: openai.OpenAI,
    choices: list[list[Move]],
    stop: list[str] | None,
    max_tokens: int | None,
) -> None:
    same_server.engine._script = lambda _: choices
    fields = {"n": len(choices), "stop": stop, "max_completion_tokens": max_tokens}
    plain = ask(same_client, **fields)
    assert comparable(accumulated(same_client, **fields)) == comparable(plain)
    for index, choice in enumerate(choices):
        whole = b"".join(piece for piece in choice if isinstance(piece, bytes)).decode(errors="replace")
        content = plain.choices[index].message.content
        assert content is not None
        if max_tokens is None:
            assert whole.startswith(content)
            assert content == whole or plain.choices[index].finish_reason == "stop"
        assert not any(string in content for string in stop or ())


def test_no_chunk_splits_a_character(same_server: RunningServer, same_client: openai.OpenAI) -> None:
    text = "né中🌊"
    same_server.engine._script = lambda _: [[bytes([byte]) for byte in text.encode()]]
    chunks = ask_streamed(same_client)
    assert text_of(chunks) == text
    assert [c.choices[0].delta.content for c in chunks[1:-1]] == list(text)


def test_the_accumulator_takes_a_fingerprint_and_usage_from_the_last_chunk(
    same_client: openai.OpenAI, same_server: RunningServer
) -> None:
    same_server.engine._script = lambda _: [[b"x"]]
    answer = accumulated(same_client)
    assert answer.system_fingerprint == same_server.engine.card.fingerprint
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 2
