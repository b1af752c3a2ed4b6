"""Moderation by a model of this server: a script plays both the model that answers and the one that judges."""

from __future__ import annotations

import http.client
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import openai
import pytest

from completionist.engine.base import PlainText, Prompt, WorkerFault
from completionist.engine.scripted import CARD, Move, Pause, pieces
from completionist.moderation.judge import QUESTIONS
from completionist.settings import EngineSettings, ModerationSettings, ServerSettings, Settings
from completionist.types.moderation import CATEGORIES
from tests.conftest import Serve
from tests.support.ask import ask, official
from tests.support.server import MODEL, RunningServer, eventually, running_server

BLOCKED_INPUT = {"model": MODEL, "policy": {"input": {"mode": "block"}}}
BLOCKED_OUTPUT = {"model": MODEL, "policy": {"output": {"mode": "block"}}}
WORDS = {"insult": "harassment", "blood": "violence", "gore": "violence/graphic"}
"""In a text → the category that the script says yes to."""
FAULTS: dict[str, Sequence[Move]] = {
    "[mumble]": [b"Perhaps"],
    "[mute]": [],
    "[broken]": [WorkerFault("broken")],
    "[silent]": [Pause(math.inf)],
}


def play(prompt: Prompt) -> list[Sequence[Move]]:
    """Judges where it is asked a question about a text, and otherwise repeats what the user says."""
    said = "".join(segment.text for segment in prompt.segments if isinstance(segment, PlainText))
    asked = said.rpartition("user\n")[2].partition("\nassistant")[0].removesuffix("\n")
    text, is_question, question = asked.partition("\n\nDoes the text ")
    if not is_question:
        return [pieces(asked)] * prompt.n
    for word, moves in FAULTS.items():
        if word in text:
            return [moves]
    is_so = any(word in text and question.startswith(f"{QUESTIONS[category]}?") for word, category in WORDS.items())
    return [[b"Yes" if is_so else b" no"]]


@pytest.fixture(scope="module")
def judging() -> Iterator[RunningServer]:
    with running_server(play, settings=settings_for(timeout_s=30.0)) as server:
        yield server


def settings_for(timeout_s: float) -> Settings:
    return Settings(server=ServerSettings(port=0), moderation=ModerationSettings(model=MODEL, timeout_s=timeout_s))


def moderated(server: RunningServer, text: str, moderation: object = None, **fields: Any) -> tuple[Any, dict[str, Any]]:
    """The choice, and what was found."""
    with official(server.base_url, api_key="k", max_retries=0) as client:
        sent = {"moderation": moderation or {"model": MODEL}}
        answer = ask(client, messages=[{"role": "user", "content": text}], extra_body=sent, **fields)
    assert answer.moderation
    return answer.choices[0], answer.moderation.to_dict()


def test_every_category_has_a_question() -> None:
    assert tuple(QUESTIONS) == CATEGORIES


@pytest.mark.parametrize(
    ("text", "flagged"),
    [
        ("High water is at noon.", set()),
        ("An insult.", {"harassment"}),
        ("blood and gore", {"violence", "violence/graphic"}),
        ("calm, " * 700 + "and then blood", {"violence"}),
    ],
)
def test_scores_are_the_models(judging: RunningServer, text: str, flagged: set[str]) -> None:
    _, found = moderated(judging, text, {"model": "omni-moderation-latest"}, max_completion_tokens=2000)
    (result,) = found["input"]["results"]
    assert result == {
        "type": "moderation_result",
        "model": MODEL,
        "flagged": bool(flagged),
        "categories": {category: category in flagged for category in CATEGORIES},
        "category_scores": {category: float(category in flagged) for category in CATEGORIES},
        "category_applied_input_types": {category: ["text"] for category in CATEGORIES},
    }
    assert found["output"] == found["input"]


def test_what_the_model_flags_is_withheld(judging: RunningServer) -> None:
    choice, found = moderated(judging, "An insult.", BLOCKED_OUTPUT)
    assert (choice.message.content, choice.finish_reason) == ("", "content_filter")
    assert found["output"]["results"][0]["categories"]["harassment"]


@pytest.mark.parametrize(
    ("text", "how"),
    [
        ("[mumble]", "answers neither yes nor no"),
        ("[mute]", "said nothing"),
        ("[broken]", "could not be asked"),
    ],
)
def test_a_model_that_cannot_judge_says_so(judging: RunningServer, text: str, how: str) -> None:
    check_could_not_judge(judging, text, how)


def test_a_model_that_judges_for_too_long_says_so(serve: Serve) -> None:
    check_could_not_judge(serve(play, settings=settings_for(timeout_s=0.3)), "[silent]", "did not judge in time")


def check_could_not_judge(server: RunningServer, text: str, how: str) -> None:
    choice, found = moderated(server, text, BLOCKED_OUTPUT)
    error = {"type": "error", "code": "moderation_unavailable", "message": f"The model that judges {how}."}
    assert found == {"input": error, "output": error}
    assert choice.finish_reason == "content_filter"


def test_a_client_that_leaves_ends_the_judging(judging: RunningServer) -> None:
    with (
        official(judging.base_url, api_key="k", max_retries=0, timeout=0.2) as client,
        pytest.raises(openai.APITimeoutError),
    ):
        ask(
            client,
            messages=[{"role": "user", "content": "[silent]"}],
            extra_body={"moderation": {"model": MODEL, "policy": {"input": {"mode": "block"}}}},
        )
    moderated(judging, "High water is at noon.")
    eventually(lambda: judging.engine.stats.running == 0)


def test_judging_has_a_place_in_the_queue_and_none_beyond_it(serve: Serve) -> None:
    """The one stream and two that wait: each request waits for its answer and for the judge of what it says."""
    settings = Settings(
        server=ServerSettings(port=0),
        engine=EngineSettings(queue_requests=2),
        moderation=ModerationSettings(model=MODEL),
    )
    server = serve(play, settings=settings, card=msgspec.structs.replace(CARD, streams=1))
    blocked = {"messages": [{"role": "user", "content": "[silent]"}], "moderation": BLOCKED_INPUT, "model": MODEL}
    with official(server.base_url, api_key="k", max_retries=0) as client:
        first = http.client.HTTPConnection("127.0.0.1", server.port)
        first.request("POST", "/v1/chat/completions", json.dumps(blocked), {"content-type": "application/json"})
        eventually(lambda: server.engine.stats.running == 1)
        for stream in (False, True):
            with pytest.raises(openai.InternalServerError) as caught:
                client.post("/chat/completions", body={**blocked, "stream": stream}, cast_to=object)
            assert (caught.value.status_code, caught.value.code) == (503, "server_is_overloaded")
            assert caught.value.response.headers["retry-after"]
        first.close()
    eventually(lambda: server.engine.stats.running == 0)
    assert moderated(server, "An insult.")[1]["input"]["results"][0]["flagged"]


def test_a_model_that_is_not_there_is_named(serve: Serve) -> None:
    server = serve(settings=Settings(server=ServerSettings(port=0), moderation=ModerationSettings(model="no-judge")))
    with pytest.raises(openai.BadRequestError) as caught:
        moderated(server, "High water is at noon.", {"model": "no-judge"})
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", "moderation")
    assert "The model 'no-judge', which is to judge, is not installed." in str(caught.value)
