"""Thinking stays out of the answer, and is counted (contract 13.2)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec
import openai
import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion

from completionist.engine.base import Prompt
from completionist.engine.scripted import CARD, Move, pieces
from completionist.local.backend import LocalBackend
from completionist.settings import ServedSettings
from tests.support.ask import ask, ask_streamed, official, text_of
from tests.support.server import RunningServer, running_server

THINKER = msgspec.structs.replace(
    CARD,
    chat_template=f"{CARD.chat_template}{{% if enable_thinking is defined and not enable_thinking %}}"
    "<think>\n\n</think>\n\n{% endif %}",
)
THOUGHT = "<think>\nIt rose at six.\n</think>\n\n"


@pytest.fixture(scope="module")
def own_server() -> Iterator[RunningServer]:
    with running_server(card=THINKER) as server:
        yield server


@pytest.fixture(scope="module")
def own_client(own_server: RunningServer) -> Iterator[openai.OpenAI]:
    with official(own_server.base_url, api_key="x", max_retries=0) as client:
        yield client


def play(server: RunningServer, text: str) -> list[str]:
    """Let the model generate `text`; the prompts that it gets are remembered."""
    prompts: list[str] = []

    def script(prompt: Prompt) -> list[list[Move]]:
        prompts.append("".join(getattr(segment, "text", "|") for segment in prompt.segments))
        return [list[Move](pieces(text))] * prompt.n

    server.engine._script = script
    return prompts


def reasoning_tokens(answer: ChatCompletion) -> int | None:
    assert answer.usage is not None
    assert answer.usage.completion_tokens_details is not None
    return answer.usage.completion_tokens_details.reasoning_tokens


def test_thinking_is_taken_off_and_counted(own_client: openai.OpenAI, own_server: RunningServer) -> None:
    play(own_server, f"{THOUGHT}High at noon.")
    answer = ask(own_client, logprobs=True, stop=["six", "think"])
    choice = answer.choices[0]
    assert (choice.message.content, choice.finish_reason) == ("High at noon.", "stop")
    assert "reasoning_content" not in choice.message.to_dict()
    assert [entry.token for entry in (choice.logprobs and choice.logprobs.content) or ()][1:] == [" at", " noon."]
    n_thought = len(pieces(THOUGHT.rstrip()))
    assert reasoning_tokens(answer) == n_thought
    chunks = ask_streamed(own_client, stream_options={"include_usage": True})
    assert text_of(chunks) == "High at noon."
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens_details is not None
    assert chunks[-1].usage.completion_tokens_details.reasoning_tokens == n_thought


def test_a_limit_inside_the_thinking_leaves_an_empty_answer(
    own_client: openai.OpenAI, own_server: RunningServer
) -> None:
    play(own_server, f"{THOUGHT}High at noon.")
    answer = ask(own_client, max_completion_tokens=3)
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("", "length")
    assert reasoning_tokens(answer) == 3


def test_none_turns_thinking_off_in_the_prompt(own_client: openai.OpenAI, own_server: RunningServer) -> None:
    prompts = play(own_server, "High at noon.")
    answer = ask(own_client, reasoning_effort="none")
    assert prompts[0].endswith("<think>\n\n</think>\n\n")
    assert (answer.choices[0].message.content, reasoning_tokens(answer)) == ("High at noon.", 0)


def test_an_effort_opens_the_thinking(own_client: openai.OpenAI, own_server: RunningServer) -> None:
    prompts = play(own_server, "It rose.\n</think>\n\nNoon.")
    answer = ask(own_client, reasoning_effort="xhigh")
    assert prompts[0].endswith("assistant\n<think>\n")
    assert answer.choices[0].message.content == "Noon."
    assert reasoning_tokens(answer) == 3


def test_thinking_is_shown_where_the_operator_says_so() -> None:
    showing = partial(LocalBackend, said=ServedSettings(reasoning_content=True))
    with (
        running_server(card=THINKER, backend=showing) as server,
        official(server.base_url, api_key="x", max_retries=0) as client,
    ):
        play(server, f"{THOUGHT}High at noon.")
        message = ask(client).choices[0].message.to_dict()
        assert (message["reasoning_content"], message["content"]) == ("\nIt rose at six.\n", "High at noon.")
        deltas: list[dict[str, Any]] = [c.choices[0].delta.to_dict() for c in ask_streamed(client)]
        assert "".join(delta.get("reasoning_content", "") for delta in deltas) == "\nIt rose at six.\n"
        replayed: Any = [{"role": "user", "content": "When?"}, message, {"role": "user", "content": "Thanks."}]
        prompts = play(server, "Bye.")
        assert ask(client, messages=replayed).choices[0].message.content == "Bye."
        assert "High at noon." in prompts[0]
        assert "It rose" not in prompts[0]


@pytest.mark.parametrize(
    ("after", "limit", "content", "n_calls"),
    [
        ("High at noon.", None, "High at noon.", 0),
        ('<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>', None, None, 1),
        ("", None, "", 0),
        ("unreached", 3, "", 0),
    ],
)
def test_thinking_that_is_shown_streams_to_the_same_message(
    after: str, limit: int | None, content: str | None, n_calls: int
) -> None:
    """Where a call may follow the thinking, whether there is content shows only behind it."""
    showing = partial(LocalBackend, said=ServedSettings(reasoning_content=True))
    fields: dict[str, Any] = {"tools": [{"type": "function", "function": {"name": "f"}}], "logprobs": True}
    with (
        running_server(card=THINKER, backend=showing) as server,
        official(server.base_url, api_key="x", max_retries=0) as client,
    ):
        play(server, THOUGHT + after)
        plain = ask(client, max_completion_tokens=limit, **fields).choices[0]
        state = ChatCompletionStreamState()
        for chunk in ask_streamed(client, max_completion_tokens=limit, **fields):
            state.handle_chunk(chunk)
        streamed = state.current_completion_snapshot.choices[0]
    for choice in (plain, streamed):
        assert choice.message.content == content
        assert len(choice.message.tool_calls or ()) == n_calls
        assert choice.message.to_dict()["reasoning_content"] == plain.message.to_dict()["reasoning_content"]
        assert choice.finish_reason == plain.finish_reason


def test_a_model_that_cannot_think_takes_no_effort() -> None:
    with (
        running_server() as server,
        official(server.base_url, api_key="x", max_retries=0) as client,
    ):
        assert ask(client, reasoning_effort="none").choices[0].message.content
        with pytest.raises(openai.BadRequestError) as caught:
            ask(client, reasoning_effort="high")
        assert caught.value.code == "unsupported_value"
        assert caught.value.param == "reasoning_effort"
        assert "Supported values are: 'none'." in caught.value.message
