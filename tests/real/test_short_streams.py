"""Short streams, through HTTP: a burst begins while the only other stream is taken."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from completionist.settings import DEFAULT_MODEL
from tests.support import raw
from tests.support.ask import ask, ask_streamed, official
from tests.support.real import ONE_THREAD, running_model

pytestmark = pytest.mark.model

SIZES = {"STREAMS": "1", "STREAM_TOKENS": "1024", "CONTEXT_TOKENS": "1024", "SHORT_STREAMS": "2"}
NO_END = {"2": -100}
"""The token that ends a turn of this model never comes."""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    sizes = {f"COMPLETIONIST_ENGINE__{name}": value for name, value in SIZES.items()}
    with running_model(tmp_path_factory.mktemp("short") / "log", sizes={**sizes, **ONE_THREAD}) as url:
        yield url


def test_short_requests_are_answered_beside_a_long_one_plain_and_streamed(url: str) -> None:
    short: dict[str, Any] = {"model": DEFAULT_MODEL, "max_completion_tokens": 8, "logit_bias": NO_END}
    with official(url, api_key="none", max_retries=0) as client:
        story = client.chat.completions.create(
            model=DEFAULT_MODEL,
            messages=[{"role": "user", "content": "Tell a long story."}],
            max_completion_tokens=900,
            logit_bias=NO_END,
            stream=True,
        )
        next(iter(story))
        plain = ask(client, **short)
        chunks = ask_streamed(client, **short)
        assert _running(url) == 1  # the story, which has the only other stream
        story.close()
    ends = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices]
    assert plain.choices[0].finish_reason == ends[-1] == "length"


def test_the_models_in_memory_say_how_many_there_are(url: str) -> None:
    (model,) = raw.json_of(_get(url, "/admin/models"))["data"]
    assert [(one["n_streams"], one["tokens"]) for one in model["streams"]] == [(1, 1024), (2, 512)]


def _running(url: str) -> float:
    found = re.search(rb"^completionist_num_requests_running\{.*\} (\S+)$", _get(url, "/metrics").body, re.MULTILINE)
    assert found
    return float(found[1])


def _get(url: str, path: str) -> raw.Reply:
    port = urlsplit(url).port
    assert port
    return raw.send(port, raw.request("GET", path))
