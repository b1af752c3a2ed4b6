"""Answers that cite: annotations with exact positions, plain and streamed, beside everything else an answer can have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from completionist.settings import SearchSettings, ServerSettings, Settings, StoreSettings
from tests.search.scripts import SAY, talkative
from tests.support.ask import ask, ask_streamed, official, text_of
from tests.support.searxng import CALAIS, DOVER, running_searxng
from tests.support.server import RunningServer, running_server

TITLES = {DOVER["url"]: "Tides at Dover & Deal", CALAIS["url"]: CALAIS["url"]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    url = f"sqlite:///{tmp_path_factory.mktemp('citing') / 'data.db'}"
    with running_searxng() as searxng:
        search = SearchSettings(provider="searxng", url=searxng.url)
        settings = Settings(server=ServerSettings(port=0), store=StoreSettings(url=url), search=search)
        with running_server(talkative, settings=settings) as server:
            yield server


@pytest.fixture(scope="module")
def client(server: RunningServer) -> Iterator[openai.OpenAI]:
    with official(server.base_url, api_key="k", max_retries=0, timeout=30) as client:
        yield client


def asked(said: str, **fields: Any) -> dict[str, Any]:
    """For an answer of `said`."""
    return {"messages": [{"role": "user", "content": SAY + said}], "web_search_options": {}, **fields}


def cited(content: str, annotations: Any) -> list[tuple[str, str]]:
    """What cites, and which address."""
    found = []
    for annotation in annotations:
        assert annotation["type"] == "url_citation"
        citation = annotation["url_citation"]
        assert set(citation) == {"start_index", "end_index", "title", "url"}
        assert citation["title"] == TITLES[citation["url"]]
        found.append((content[citation["start_index"] : citation["end_index"]], citation["url"]))
    return found


SAID = "𝄞 Zwölf Uhr [1], [2]; `x[1]` and [3] not; both【1】[1,2]."
CITED = [
    ("[1]", DOVER["url"]), ("[2]", CALAIS["url"]), ("【1】", DOVER["url"]), ("[1,2]", DOVER["url"]),
    ("[1,2]", CALAIS["url"]),
]  # fmt: skip


def test_every_cut_gives_the_same_citations(client: openai.OpenAI) -> None:
    fields = asked(SAID, n=len(SAID.encode()) - 1)
    answer, chunks = ask(client, **fields), ask_streamed(client, **fields)
    for choice in answer.choices:
        assert choice.message.content == SAID
        assert cited(SAID, choice.to_dict()["message"]["annotations"]) == CITED  # type: ignore[index]
    for index in range(fields["n"]):
        own = [chunk.choices[0] for chunk in chunks if chunk.choices[0].index == index]
        assert text_of(chunks, index) == SAID
        assert cited(SAID, (own[-1].delta.model_extra or {})["annotations"]) == CITED
        assert own[-1].finish_reason == "stop"
        assert not any((choice.delta.model_extra or {}).get("annotations") for choice in own[:-1])


def test_the_helper_of_the_client_has_them_too(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model="scripted", **asked(SAID)) as stream:
        final = stream.get_final_completion().choices[0].message
    assert final.content == SAID
    assert cited(SAID, [dict(annotation) for annotation in final.to_dict()["annotations"]]) == CITED  # type: ignore[attr-defined]


def test_who_cites_nothing_has_no_annotations(client: openai.OpenAI) -> None:
    answer, chunks = ask(client, **asked("At noon [3].")), ask_streamed(client, **asked("At noon [3]."))
    assert answer.choices[0].message.to_dict() == {
        "role": "assistant", "content": "At noon [3].", "refusal": None, "annotations": [],
    }  # fmt: skip
    assert chunks[-1].choices[0].delta.to_dict() == {}


def test_without_a_search_nothing_is_cited(client: openai.OpenAI) -> None:
    answer = ask(client, messages=[{"role": "user", "content": SAY + SAID}])
    assert answer.choices[0].message.annotations == []


def test_a_stop_string_and_probabilities_hold_for_what_is_shown(client: openai.OpenAI) -> None:
    answer = ask(client, **asked("Noon [1] or six [2]!", stop=" or", logprobs=True))
    choice = answer.choices[0]
    assert choice.message.content == "Noon [1]"
    assert cited("Noon [1]", choice.to_dict()["message"]["annotations"]) == [("[1]", DOVER["url"])]  # type: ignore[index]
    half = ask(client, **asked("Noon [1] or six [2]!", stop="]")).choices[0].message
    assert (half.content, half.annotations) == ("Noon [1", [])
    whole = ask(client, **asked("Noon [1].", logprobs=True)).choices[0]
    assert whole.logprobs
    assert "".join(token.token for token in whole.logprobs.content or ()) == "Noon [1]."


def test_in_json_only_strings_cite(client: openai.OpenAI) -> None:
    said = '{"days": [1, 2], "text": "At noon [1]"}'
    fields = asked(said + " JSON", response_format={"type": "json_object"})
    message = ask(client, **fields).choices[0].message
    assert message.content is not None
    assert cited(message.content, message.to_dict()["annotations"]) == [("[1]", DOVER["url"])]


def test_a_stored_answer_keeps_them_and_can_be_sent_back(client: openai.OpenAI) -> None:
    answer = ask(client, **asked(SAID, store=True))
    stored = client.chat.completions.retrieve(answer.id)
    assert stored.choices[0].message.annotations == answer.choices[0].message.annotations
    assert len(stored.choices[0].message.annotations or ()) == len(CITED)
    question, *_ = client.chat.completions.messages.list(answer.id)
    assert question.content == SAY + SAID, "what was found is no message of the client's"
    again = ask(client, messages=[answer.choices[0].message.to_dict(), {"role": "user", "content": "And?"}])
    assert again.choices[0].message.content == "And?"
