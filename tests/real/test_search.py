"""Searching with the real model: what was found is what it reads, and what it cites is what it wrote (contract 8.8)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletion

from completionist.cli import run
from completionist.settings import DEFAULT_MODEL
from tests.support.ask import official
from tests.support.real import running_model

pytestmark = pytest.mark.model

QUESTION: Any = [{"role": "user", "content": "What is the Kelmore lighthouse painted with?"}]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    place = tmp_path_factory.mktemp("search")
    (place / "docs").mkdir()
    (place / "docs" / "kelmore.md").write_text("# Kelmore lighthouse\n\nThe Kelmore lighthouse is painted with tar.")
    options = f'[search]\nprovider = "index"\nindex = "{place / "documents.db"}"\n'
    (place / "completionist.toml").write_text(options)
    assert run(["index", str(place / "docs"), "--config", str(place / "completionist.toml")]) == 0
    with running_model(place / "log", options=options) as url, official(url, api_key="k") as client:
        yield client


def ask(client: openai.OpenAI, **fields: Any) -> ChatCompletion:
    answer = client.chat.completions.create(
        model=DEFAULT_MODEL, messages=QUESTION, temperature=0, max_completion_tokens=48, **fields
    )
    assert isinstance(answer, ChatCompletion)
    return answer


def test_the_answer_is_in_what_was_found(client: openai.OpenAI) -> None:
    searched, plain = ask(client, web_search_options={}), ask(client)
    assert re.search(r"\btar\b", searched.choices[0].message.content or "")
    assert not re.search(r"\btar\b", plain.choices[0].message.content or "")
    assert searched.usage
    assert plain.usage
    assert searched.usage.prompt_tokens > plain.usage.prompt_tokens + 40
