"""Two models in one server, each in a worker of its own; the second is a tiny one with random weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import psutil
import pytest

from completionist.settings import DEFAULT_MODEL
from tests.engine.tiny_models import write_plain
from tests.support.real import running_model
from tests.support.server import eventually

pytestmark = pytest.mark.model

OPTIONS = """
[served.tiny]
model = "{tiny}"
keep_alive_s = 0
[served.broken]
model = "{broken}"
[served.gpt-4o-mini]
model = "tiny"
profile = "gpt-4o"
"""
ASK: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello"}], "max_completion_tokens": 3}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_plain(tmp_path_factory.mktemp("tiny") / "random.gguf")


@pytest.fixture(scope="module")
def url(tiny: Path) -> Iterator[str]:
    broken = tiny.with_name("broken.gguf")
    broken.write_bytes(tiny.read_bytes()[:5000])
    with running_model(tiny.with_name("log"), options=OPTIONS.format(tiny=tiny, broken=broken)) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client:
        yield client


def loaded(url: str) -> dict[str, Any]:
    answer = httpx2.get(f"{url.removesuffix('/v1')}/admin/models")
    return {one["name"]: one for one in answer.json()["data"]}


def test_each_answers_by_its_name(client: openai.OpenAI, url: str) -> None:
    names = [model.id for model in client.models.list()]
    assert names[0] == DEFAULT_MODEL
    assert {"tiny", "broken", "gpt-4o-mini"} <= set(names)
    prints = {}
    for name in (DEFAULT_MODEL, "tiny", "gpt-4o-mini"):
        answer = client.chat.completions.create(model=name, **ASK)
        assert answer.model == name
        prints[name] = answer.system_fingerprint
    assert prints["tiny"] == prints["gpt-4o-mini"] != prints[DEFAULT_MODEL]
    assert loaded(url)[DEFAULT_MODEL]["memory_bytes"] > 100_000_000


def test_a_model_that_is_not_kept_ends_its_worker(client: openai.OpenAI, url: str) -> None:
    several = ASK | {"n": 8, "max_completion_tokens": 400}  # any one of its random answers may end at once
    stream = client.chat.completions.create(model="tiny", stream=True, **several)
    next(stream)
    one = loaded(url)["tiny"]
    assert (one["state"], one["requests"], one["aliases"], one["unload_at"]) == ("loaded", 1, ["gpt-4o-mini"], None)
    assert psutil.pid_exists(one["pid"])
    stream.close()
    eventually(lambda: "tiny" not in loaded(url))
    assert not psutil.pid_exists(one["pid"])


def test_a_file_that_is_damaged_says_so(client: openai.OpenAI, tiny: Path) -> None:
    for _ in range(2):
        with pytest.raises(openai.InternalServerError, match=r"The model `broken` cannot be loaded: ") as caught:
            client.chat.completions.create(model="broken", **ASK)
        assert (caught.value.status_code, caught.value.code) == (503, "model_load_failed")
        assert str(tiny.parent) not in str(caught.value)  # where it lies is no client's business


def test_a_file_that_is_gone_is_no_model(client: openai.OpenAI, tiny: Path) -> None:
    tiny.unlink()
    eventually(lambda: "tiny" not in [model.id for model in client.models.list()])
    with pytest.raises(openai.NotFoundError, match="Its file is not there any more"):
        client.chat.completions.create(model="tiny", **ASK)
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="gpt-4o-mini", **ASK)
    assert client.chat.completions.create(model=DEFAULT_MODEL, **ASK).usage
