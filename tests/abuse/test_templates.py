"""Row 30: chat templates that loop, swell, break or reach for Python, in the file of the model that is served."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.abuse.conftest import TINY_SETTINGS
from tests.abuse.invariants import Abuse, invariants_of
from tests.abuse.served import Served, serving_file
from tests.engine.tiny_models import write_plain
from tests.support import raw

LOOPS = "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}"
TURNS = {
    "loops": LOOPS,
    "swells": "{{ 'a' * 1000000000 }}",
    "nests": (
        "{% set n = namespace(s=['aaaaaaaa']) %}{% for i in range(32) %}{% set n.s = [n.s, n.s] %}{% endfor %}{{ n.s }}"
    ),
    "breaks": "{{ messages.foo.bar }}",
}
"""What the template does where the last message names it."""
REACHES = {
    "class": "{{ ''['__cl' ~ 'ass__'] }}",
    "globals": "{{ raise_exception['__glo' ~ 'bals__'] }}",
    "attribute": "{{ messages|attr('__cl' ~ 'ass__') }}",
}
"""Spelt so that only running it shows what is meant; it gets nothing."""
HONEST = "{% for message in messages %}{{ message.content }}{% endfor %}"


def turning() -> str:
    """Good as long as nobody says the word."""
    bombs = (TURNS | REACHES).items()
    return HONEST + "".join(f"{{% if '{word}' in messages[-1].content %}}{bomb}{{% endif %}}" for word, bomb in bombs)


@pytest.fixture(scope="module")
def turning_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    directory = tmp_path_factory.mktemp("turning")
    file = write_plain(directory / "tiny.gguf", chat_template=turning())
    with serving_file(file, TINY_SETTINGS, directory / "server") as served:
        for _ in range(3):
            Abuse(served).create()
            ask(Abuse(served), "breaks")
        served.settle()
        yield served


@pytest.fixture
def turned(turning_server: Served) -> Iterator[Abuse]:
    with invariants_of(turning_server) as abuse:
        yield abuse


def ask(abuse: Abuse, text: str, *, stream: bool = False) -> raw.Reply:
    return abuse.create(messages=[{"role": "user", "content": text}], stream=stream)


@pytest.mark.parametrize("word", TURNS)
def test_row_30_a_template_that_turns_costs_its_request_only(turned: Abuse, word: str) -> None:
    turned.is_fault_ours = True  # whoever serves the model
    engine = turned.served.engine
    for stream in (False, True):
        failed = ask(turned, f"it {word}", stream=stream)
        assert (failed.status, failed.error["type"], failed.error["code"]) == (500, "server_error", None)
        assert "chat template" in failed.error["message"]
        assert ask(turned, "it works").status == 200
    assert turned.served.engine == engine


def test_row_30_nothing_of_python_is_in_reach(turned: Abuse) -> None:
    for word in REACHES:
        text = f"the {word} of it"
        assert raw.json_of(ask(turned, text))["usage"]["prompt_tokens"] == len(text)


@pytest.mark.parametrize("template", [LOOPS, "{{ ''.__class__ }}", "{{ raise_exception('never') }}"])
def test_row_30_a_model_whose_template_never_works_is_refused(template: str, tmp_path: Path) -> None:
    file = write_plain(tmp_path / "tiny.gguf", chat_template=template)
    command = ["completionist", "serve", "--model", str(file), "--port", "0"]
    refused = subprocess.run(
        [sys.executable, "-m", *command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "the chat template of tiny cannot be used" in refused.stderr
    assert "Traceback" not in refused.stderr
