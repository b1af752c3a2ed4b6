"""Row 31: models that write a megabyte of what only looks like thinking and calls."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from completionist.engine.scripted import CARD
from completionist.settings import ServedSettings, ServerSettings, Settings
from tests.abuse.clients import function, together
from tests.abuse.conftest import KEYS
from tests.abuse.invariants import Abuse, invariants_of
from tests.abuse.served import Served, serving_script
from tests.dialects.test_parser import HOSTILE
from tests.support import raw
from tests.support.process import repeated, repeating

SWITCH = "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
THINKING = f"{CARD.chat_template}{SWITCH}"
READ = ("deep arguments", "thinking")
"""These are what they look like, in part. The others are only text."""
TEXTS = {name: HOSTILE[name] for name in ("unclosed tag", "nested", *READ)} | {"all widths": "x\u00e9\u4e2d\U0001f40b"}
"""Of those that `tests/dialects` reads, and characters that are cut."""
_HALF_USED_BYTES = 24 * 2**20
"""Small objects of ten megabytes read at once leave heaps half used: after a round the process holds 80 to 103 MiB, whichever
round it is, and in 24 of them never more."""


@pytest.fixture(scope="module")
def repeating_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A model that may think and call, and says what it is told to."""
    directory = tmp_path_factory.mktemp("repeating")
    (directory / "template").write_text(THINKING)
    said = ServedSettings(chat_template=directory / "template", reasoning_content=True)
    settings = Settings(server=ServerSettings(port=0), keys=KEYS, served={CARD.name: said})
    with serving_script(repeating, settings, directory / "server") as served:
        everything(Abuse(served))
        served.settle()
        yield served


def everything(abuse: Abuse) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """All texts at once, plain and streamed: the messages, and the events."""
    plain: dict[str, Any] = {}
    streamed: dict[str, list[str]] = {}

    def ask(name: str) -> None:
        (choice,) = raw.json_of(abuse.create(**fields(name)))["choices"]
        plain[name] = choice["message"]

    def ask_streamed(name: str) -> None:
        streamed[name] = abuse.stream(**fields(name))

    together(*[lambda n=name: ask(n) for name in TEXTS], *[lambda n=name: ask_streamed(n) for name in TEXTS])
    return plain, streamed


def fields(name: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": TEXTS[name]}]
    return {"messages": messages, "tools": [function("get_tide")], "max_completion_tokens": 1000}


def test_row_31_a_megabyte_that_is_neither_thinking_nor_calls(repeating_server: Served) -> None:
    """Work that grew with the square of it would outlast the clients' patience many times over."""
    with invariants_of(repeating_server, spare_bytes=_HALF_USED_BYTES) as abuse:
        plain, streamed = everything(abuse)
        assert plain.keys() == streamed.keys() == TEXTS.keys()
        for name, message in plain.items():
            content = message["content"] or ""
            assert "".join(deltas(streamed[name], "content")) == content
            if name in READ:
                assert content or message.get("reasoning_content") or message.get("tool_calls"), name
            else:
                assert content == repeated(TEXTS[name]).decode(errors="replace"), name


def deltas(events: list[str], key: str) -> Iterator[str]:
    assert events[-1] == "[DONE]"
    for event in events[:-1]:
        for choice in json.loads(event)["choices"]:
            yield choice["delta"].get(key) or ""
