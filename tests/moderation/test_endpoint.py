"""Moderation by an endpoint elsewhere, which a server of the tests plays; the model that answers repeats what it hears."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from completionist.app import NoModerationKey, open_moderator
from completionist.chat.room import Rooms
from completionist.engine.base import Sight
from completionist.engine.scripted import CARD
from completionist.settings import ModerationSettings, ServerSettings, Settings, StoreSettings
from completionist.types.moderation import CATEGORIES
from tests.conftest import Serve
from tests.media.test_pictures import drawn, image_part
from tests.media.test_speech import repeat
from tests.support.ask import ask, ask_streamed, official, text_of
from tests.support.humming import Humming
from tests.support.moderations import BROKEN, JUDGE, Moderations, moderations
from tests.support.server import RunningServer, running_server

NAME = "omni-moderation-latest"
GOOD = "High water is at noon."
BAD = "You wicked thing."
SCORED = {"model": NAME}
BLOCKED_INPUT = {"model": NAME, "policy": {"input": {"mode": "block"}}}
BLOCKED_OUTPUT = {"model": NAME, "policy": {"output": {"mode": "block"}}}
INVALID_PROMPT = (
    "Invalid prompt: your prompt was flagged as potentially violating our usage policy. "
    "Please try again with a different prompt."
)


@pytest.fixture(scope="module")
def judge() -> Iterator[Moderations]:
    with moderations() as judge:
        yield judge


def settings_for(judge: Moderations, timeout_s: float = 30.0, **more: Any) -> Settings:
    moderation = ModerationSettings(url=judge.url, timeout_s=timeout_s, **more)
    return Settings(server=ServerSettings(port=0), moderation=moderation)


@pytest.fixture(scope="module")
def judged(judge: Moderations, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    store = StoreSettings(url=f"sqlite:///{tmp_path_factory.mktemp('judged') / 'data.db'}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUDGES_KEY", "sk-judge")
        settings = settings_for(judge, key_env="JUDGES_KEY").model_copy(update={"store": store})
        with running_server(repeat, settings=settings, speaker=Humming()) as server:
            yield server


@pytest.fixture
def client(judged: RunningServer) -> Iterator[openai.OpenAI]:
    with official(judged.base_url, api_key="k", max_retries=0) as client:
        yield client


def says(*texts: str) -> list[dict[str, Any]]:
    """What is to be asked so that the last is said; whoever hears it twice is told in other words before."""
    return [{"role": "user", "content": text} for text in texts]


def sent(text: str, moderation: object, **more: Any) -> dict[str, Any]:
    return {"messages": says(text), "extra_body": {"moderation": moderation}, **more}


def shown(answer: ChatCompletion | ChatCompletionChunk) -> dict[str, Any]:
    assert answer.moderation
    return answer.moderation.to_dict()


def verdict(*, flagged: bool) -> dict[str, Any]:
    """The one category that the judge knows nothing of is left out."""
    return {
        "type": "moderation_result",
        "model": JUDGE,
        "flagged": flagged,
        "categories": {"harassment": flagged, "violence": False},
        "category_scores": {"harassment": 0.97 if flagged else 0.01, "violence": 0.001},
        "category_applied_input_types": {"harassment": ["text"], "violence": ["text"]},
    }


def verdicts(*flags: bool) -> dict[str, Any]:
    return {"type": "moderation_results", "model": JUDGE, "results": [verdict(flagged=flag) for flag in flags]}


@pytest.mark.parametrize(("text", "flagged"), [(GOOD, False), (BAD, True)])
def test_scores_accompany_an_answer_and_change_nothing(client: openai.OpenAI, text: str, flagged: bool) -> None:
    answer = ask(client, **sent(text, SCORED, n=2))
    assert [choice.message.content for choice in answer.choices] == [text, text]
    assert [choice.finish_reason for choice in answer.choices] == ["stop", "stop"]
    assert shown(answer) == {"input": verdicts(flagged), "output": verdicts(flagged, flagged)}


def test_its_place_is_behind_the_usage(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="scripted", **sent(GOOD, SCORED))
    assert list(json.loads(raw.text))[4:8] == ["choices", "usage", "moderation", "service_tier"]


def test_an_answer_that_asks_for_no_moderation_has_none(client: openai.OpenAI, judge: Moderations) -> None:
    n_asked = len(judge.asked)
    assert "moderation" not in ask(client, messages=says(BAD)).to_dict()
    assert "moderation" not in ask(client, messages=says(BAD), extra_body={"moderation": None}).to_dict()
    assert len(judge.asked) == n_asked


def test_a_stream_ends_with_a_moderation_chunk_before_the_usage(client: openai.OpenAI) -> None:
    chunks = ask_streamed(client, **sent(BAD, SCORED, stream_options={"include_usage": True}))
    *_, finish, moderation, usage = chunks
    assert text_of(chunks) == BAD
    assert finish.choices[0].finish_reason == "stop"
    assert moderation.to_dict() == {
        **{key: value for key, value in usage.to_dict().items() if key != "usage"},
        "choices": [],
        "usage": None,
        "moderation": {"input": verdicts(True), "output": verdicts(True)},
        "obfuscation": "",
    }
    assert usage.usage
    assert all("moderation" not in chunk.to_dict() for chunk in chunks if chunk is not moderation)


def test_the_clients_helper_finds_it(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model="scripted", **sent(BAD, SCORED)) as stream:
        answer = stream.get_final_completion()
    assert answer.moderation
    assert answer.moderation.to_dict() == {"input": verdicts(True), "output": verdicts(True)}


@pytest.mark.parametrize("stream", [False, True])
def test_a_flagged_prompt_is_blocked_before_anything_runs(
    judged: RunningServer, client: openai.OpenAI, stream: bool
) -> None:
    ran = judged.metric("generation_tokens_total")
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="scripted", stream=stream, **sent(BAD, BLOCKED_INPUT))
    assert caught.value.body == {
        "message": INVALID_PROMPT, "type": "invalid_request_error", "param": None, "code": "invalid_prompt",
    }  # fmt: skip
    assert judged.metric("generation_tokens_total") == ran
    assert shown(ask(client, **sent(GOOD, BLOCKED_INPUT))) == {"input": verdicts(False), "output": verdicts(False)}


def test_flagged_output_is_withheld(client: openai.OpenAI) -> None:
    answer = ask(client, **sent(BAD, BLOCKED_OUTPUT, logprobs=True, store=True))
    (choice,) = answer.choices
    assert (choice.message.content, choice.finish_reason) == ("", "content_filter")
    assert choice.logprobs
    assert choice.logprobs.content == []
    assert shown(answer) == {"input": verdicts(True), "output": verdicts(True)}
    assert answer.usage
    assert answer.usage.completion_tokens > 1
    stored = client.chat.completions.retrieve(answer.id)
    assert BAD not in stored.choices[0].to_json()
    assert stored.moderation == answer.moderation


def test_nothing_of_flagged_output_is_streamed(client: openai.OpenAI) -> None:
    chunks = ask_streamed(client, **sent(BAD, BLOCKED_OUTPUT))
    deltas = [choice.delta.to_dict() for chunk in chunks for choice in chunk.choices]
    assert deltas == [{"role": "assistant", "content": "", "refusal": None}, {}]
    assert chunks[-2].choices[0].finish_reason == "content_filter"
    assert shown(chunks[-1])["output"] == verdicts(True)


def test_output_that_passes_is_streamed_as_it_was_written(client: openai.OpenAI) -> None:
    chunks = ask_streamed(client, **sent(GOOD, BLOCKED_OUTPUT, n=2))
    assert [text_of(chunks, index) for index in range(2)] == [GOOD, GOOD]
    n_content = sum(bool(choice.delta.content) for chunk in chunks for choice in chunk.choices)
    assert n_content > 2
    assert shown(chunks[-1])["output"] == verdicts(False, False)


CALL = '<tool_call>\n{"name": "f", "arguments": {"x": "wicked"}}\n</tool_call>'
TOOLS = [{"type": "function", "function": {"name": "f"}}]


@pytest.mark.parametrize("stream", [False, True])
def test_arguments_of_calls_are_judged(client: openai.OpenAI, judge: Moderations, stream: bool) -> None:
    judge.asked.clear()
    fields = sent(CALL, BLOCKED_OUTPUT, tools=TOOLS)
    if stream:
        choices = [choice for chunk in ask_streamed(client, **fields) for choice in chunk.choices]
        assert not any(choice.delta.tool_calls for choice in choices)
        assert choices[-1].finish_reason == "content_filter"
    else:
        (choice,) = ask(client, **fields).choices
        assert (choice.message.content, choice.message.tool_calls) == ("", None)
        assert choice.finish_reason == "content_filter"
    assert json.loads(judge.asked[-1][0]["input"]) == {"x": "wicked"}


def test_words_that_are_withheld_are_not_spoken(client: openai.OpenAI, judged: RunningServer) -> None:
    speaker = judged.media.speaker
    assert isinstance(speaker, Humming)
    spoken = {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "pcm16"}}
    answer = ask(client, **sent(BAD, BLOCKED_OUTPUT, **spoken))
    assert speaker.said == []
    assert answer.choices[0].message.audio
    assert answer.choices[0].message.audio.transcript == ""
    chunks = ask_streamed(client, **sent(GOOD, BLOCKED_OUTPUT, **spoken, stream_options={"include_usage": True}))
    assert "".join(speaker.said) == GOOD
    *_, expiry, moderation, usage = chunks
    assert expiry.choices[0].delta.to_dict() == {"audio": {"expires_at": chunks[0].created + 3600}}
    assert shown(moderation)["output"] == verdicts(False)
    assert usage.usage


def test_what_is_judged_of_a_request(client: openai.OpenAI, judge: Moderations) -> None:
    judge.asked.clear()
    call = {"id": "c", "type": "function", "function": {"name": "name", "arguments": "arguments"}}
    messages = [
        {"role": "system", "content": "system"},
        {"role": "user", "content": [{"type": "text", "text": "par"}, {"type": "text", "text": "ts"}]},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "result"},
        {"role": "user", "content": "last"},
    ]
    ask(client, messages=messages, extra_body={"moderation": SCORED})
    body, key = judge.asked[0]
    assert body == {"model": NAME, "input": "system\n\nparts\n\narguments\n\nresult\n\nlast"}
    assert key == "Bearer sk-judge"


FAILURES = {
    "silence": "did not answer in time",
    "status 500": "answered with status 500",
    "elsewhere": "answered with status 307",
    "no end": "answered at greater length than it may",
    **dict.fromkeys(BROKEN, "answered with something else than one moderation result"),
    "scores that are missing": "answered with categories that have no scores",
}


def error(failure: str) -> dict[str, str]:
    return {
        "type": "error",
        "code": "moderation_unavailable",
        "message": f"The moderation endpoint {FAILURES[failure]}.",
    }


def test_a_judge_that_is_silent_is_told(judge: Moderations, serve: Serve) -> None:
    server = serve(repeat, settings=settings_for(judge, timeout_s=0.3))
    with official(server.base_url, api_key="k", max_retries=0) as client:
        found = shown(ask(client, **sent("[silence]", SCORED)))
    judge.may_speak.set()
    assert found == {"input": error("silence"), "output": error("silence")}


@pytest.mark.parametrize("failure", [failure for failure in FAILURES if failure != "silence"])
def test_a_failure_is_told_and_scoring_stops_nothing(client: openai.OpenAI, failure: str) -> None:
    answer = ask(client, **sent(f"[{failure}]", SCORED))
    assert answer.choices[0].message.content == f"[{failure}]"
    assert shown(answer) == {"input": error(failure), "output": error(failure)}


def test_what_could_not_be_judged_is_blocked(client: openai.OpenAI) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        ask(client, **sent("[status 500]", BLOCKED_INPUT))
    assert (caught.value.status_code, caught.value.code) == (503, "moderation_unavailable")
    assert "answered with status 500" in str(caught.value)
    answer = ask(client, **sent("[status 500]", BLOCKED_OUTPUT))
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("", "content_filter")
    assert shown(answer)["output"] == error("status 500")


def test_what_could_not_be_judged_may_pass(judge: Moderations, serve: Serve) -> None:
    server = serve(repeat, settings=settings_for(judge, on_failure="pass", model="own-judge", names=("mine",)))
    with official(server.base_url, api_key="k", max_retries=0) as client:
        policy = {"input": {"mode": "block"}, "output": {"mode": "block"}}
        answer = ask(client, **sent("[status 500]", {"model": "mine", "policy": policy}))
        assert answer.choices[0].message.content == "[status 500]"
        assert shown(answer)["output"] == error("status 500")
        assert judge.asked[-1] == ({"model": "own-judge", "input": "[status 500]"}, None)
        with pytest.raises(openai.BadRequestError, match="'mine' and 'own-judge'") as caught:
            ask(client, **sent(GOOD, SCORED))
        assert (caught.value.code, caught.value.param) == ("invalid_value", "moderation.model")


def test_texts_have_a_limit_and_silence_is_not_judged(judge: Moderations, serve: Serve) -> None:
    server = serve(lambda prompt: [[]] * prompt.n, settings=settings_for(judge, max_characters=10))
    with official(server.base_url, api_key="k", max_retries=0) as client:
        found = shown(ask(client, **sent("x" * 11, SCORED)))
    assert found["input"]["message"] == "Texts of more than 10 characters are not judged here."
    (result,) = found["output"]["results"]
    assert (result["flagged"], result["categories"], result["category_scores"]) == (False, {}, {})


SEEING = msgspec.structs.replace(CARD, sight=Sight(takes_any_size=True))


SHIP, FIGHT = (image_part(drawn(words)) for words in ("a ship", "a fight"))


def shows(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "text", "text": GOOD}, *parts]}]


def test_pictures_that_a_model_sees_are_judged_too(
    judge: Moderations, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(repeat, card=SEEING, settings=settings_for(judge))
    judge.asked.clear()
    with openai.OpenAI(base_url=server.base_url, api_key="k", max_retries=0) as client:
        answer = ask(client, messages=shows(SHIP, FIGHT), extra_body={"moderation": BLOCKED_INPUT})
        (result,) = shown(answer)["input"]["results"]
        assert [body["input"] for body, _ in judge.asked[:2]] == [[{"type": "text", "text": GOOD}, SHIP], [FIGHT]]
        assert result["category_applied_input_types"] == {"harassment": ["text"], "violence": ["text", "image"]}
        assert (result["flagged"], result["category_scores"]["violence"]) == (False, 0.001)
        monkeypatch.setattr(judge, "flagged_picture", FIGHT)
        with pytest.raises(openai.BadRequestError, match="flagged as potentially"):
            ask(client, messages=shows(SHIP, FIGHT), extra_body={"moderation": BLOCKED_INPUT})


def test_pictures_that_nobody_judges_cannot_be_blocked(judge: Moderations, serve: Serve) -> None:
    server = serve(repeat, card=SEEING, settings=settings_for(judge, images=False))
    with openai.OpenAI(base_url=server.base_url, api_key="k", max_retries=0) as client:
        answer = ask(client, messages=shows(SHIP), extra_body={"moderation": SCORED})
        assert shown(answer)["input"] == verdicts(False)
        with pytest.raises(openai.BadRequestError) as caught:
            ask(client, messages=shows(SHIP), extra_body={"moderation": BLOCKED_INPUT})
    assert (caught.value.code, caught.value.param) == ("unsupported_value", "moderation.policy.input.mode")


def test_a_key_that_is_not_there_is_a_fault_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JUDGES_KEY", raising=False)
    with pytest.raises(NoModerationKey, match="JUDGES_KEY, which is not set"):
        open_moderator(ModerationSettings(url="http://judge/v1", key_env="JUDGES_KEY"), backends=None, rooms=Rooms(1))  # type: ignore[arg-type]  # an endpoint needs none


def test_the_categories_are_the_contracts() -> None:
    assert len(CATEGORIES) == 13
