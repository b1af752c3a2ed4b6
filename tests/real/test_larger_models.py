"""What only a larger model shows: it calls the right tool, and talks where no tool is wanted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletion

from tests.support.ask import official
from tests.support.real import running_model

pytestmark = [pytest.mark.large, pytest.mark.timeout(1800)]

MODEL = "qwen2.5-coder-1.5b-instruct"


def tool(name: str, description: str, **properties: Any) -> Any:
    parameters = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    function = {"name": name, "description": description, "parameters": parameters, "strict": True}
    return {"type": "function", "function": function}


WEATHER = tool(
    "get_weather",
    "Current weather in a city",
    city={"type": "string"},
    unit={"type": "string", "enum": ["celsius", "fahrenheit"]},
)
EMAIL = tool("send_email", "Send an email", to={"type": "string"}, subject={"type": "string"}, body={"type": "string"})


@pytest.fixture(scope="module")
def larger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    options = "[engine]\nstreams = 2\ncontext_tokens = 2048\n"
    with (
        running_model(tmp_path_factory.mktemp("larger") / "log", MODEL, options=options) as url,
        official(url, api_key="none", max_retries=0, timeout=900) as client,
    ):
        yield client


def ask(client: openai.OpenAI, *messages: Any) -> tuple[str | None, list[tuple[str, dict[str, Any]]]]:
    """What it says, and whom it calls with what."""
    sent: Any = [{"role": "user", "content": text} if isinstance(text, str) else text for text in messages]
    answer = client.chat.completions.create(
        model=MODEL, messages=sent, tools=[WEATHER, EMAIL], temperature=0, max_completion_tokens=120
    )
    assert isinstance(answer, ChatCompletion)
    message = answer.choices[0].message
    called = [call.to_dict()["function"] for call in message.tool_calls or ()]
    return message.content, [(one["name"], json.loads(one["arguments"])) for one in called]  # type: ignore[index]


@pytest.mark.parametrize("text", ["Hi! Who are you?", "Good morning!"])
def test_small_talk_is_answered_in_words(larger: openai.OpenAI, text: str) -> None:
    content, called = ask(larger, text)
    assert content
    assert called == []


def test_the_right_function_is_called(larger: openai.OpenAI) -> None:
    assert ask(larger, "What is the weather in Paris in celsius?") == (
        None,
        [("get_weather", {"city": "Paris", "unit": "celsius"})],
    )
    _, ((name, arguments),) = ask(larger, "Email bob@example.com that the meeting is moved to 3pm.")
    assert (name, arguments["to"]) == ("send_email", "bob@example.com")


def test_two_questions_make_two_calls(larger: openai.OpenAI) -> None:
    _, called = ask(larger, "Compare the weather in Oslo and Rome.")
    assert [(name, arguments["city"]) for name, arguments in called] == [
        ("get_weather", "Oslo"),
        ("get_weather", "Rome"),
    ]


def test_a_result_is_told_in_words(larger: openai.OpenAI) -> None:
    function = {"name": "get_weather", "arguments": '{"city": "Paris", "unit": "celsius"}'}
    content, called = ask(
        larger,
        "What is the weather in Paris in celsius?",
        {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": "c1", "content": '{"temp": 18, "sky": "cloudy"}'},
    )
    assert content
    assert "18" in content
    assert called == []
