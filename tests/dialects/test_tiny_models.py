"""The families whose models do not install, end to end: a tiny model of random weights whose vocabulary has their markers as
control tokens, behind the whole local backend. It speaks nonsense, and every call of it is one."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from completionist.chat.fold import Folder, Head
from completionist.engine.llama.loading import load
from completionist.local.backend import LocalBackend
from completionist.types.caller import Caller
from completionist.types.completion import Choice, Message
from completionist.types.request import Draft
from completionist.types.tools import CustomToolCall, FunctionToolCall
from tests.dialects.families import CONTROLS, TEMPLATES
from tests.engine.test_memory import order
from tests.engine.tiny_models import write_plain
from tests.support.inline import InlineEngine

FAMILIES = ("llama3", "mistral list", "mistral", "gemma", "harmony", "deepseek", "deepseek fenced")
ONE_CALL = ("llama3", "harmony")
"""To a turn."""

TIDE = {
    "type": "object",
    "properties": {
        "harbour": {"type": "string", "enum": ["Brest", "Cork"]},
        "day": {"type": "integer", "minimum": 1, "maximum": 31},
    },
    "required": ["harbour", "day"],
    "additionalProperties": False,
}
TOOLS: list[dict[str, Any]] = [
    {"type": "function", "function": {"name": "get_tide", "parameters": TIDE, "strict": True}},
    {"type": "function", "function": {"name": "now"}},
    {
        "type": "custom",
        "custom": {
            "name": "dial",
            "format": {"type": "grammar", "grammar": {"syntax": "regex", "definition": r"\+33[0-9]{3}"}},
        },
    },
]


def template(family: str) -> str:
    """What tells the family is there to be found, and not to be written."""
    start = CONTROLS[family][0]
    return (
        "{% for message in messages %}" + start + "{{ message.role }} {{ message.content }}{% endfor %}"
        "{% if tools %}{{ tools | length }}{% endif %}{% if false %}" + TEMPLATES[family] + "{% endif %}" + start
    )


class Speaker:
    """A family's model, and a loop that it is asked on."""

    def __init__(self, runner: asyncio.Runner, backend: LocalBackend) -> None:
        self._runner = runner
        self._backend = backend

    def ask(self, **fields: Any) -> tuple[Choice, ...]:
        body = {"model": "m", "messages": [{"role": "user", "content": "Tide?"}], "reasoning_effort": "none", **fields}
        return self._runner.run(self._choices(body))

    async def _choices(self, body: dict[str, Any]) -> tuple[Choice, ...]:
        request = Draft.read(json.dumps(body).encode()).request()
        head = Head(id="", created=0, model="m", service_tier="default", system_fingerprint="")
        folder = Folder(head, has_logprobs=bool(request.logprobs))
        async for delta in self._backend.deltas(request, Caller(project="tides")):
            folder.add(delta)
        return folder.finish().choices


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def speaker(family: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Speaker]:
    directory = tmp_path_factory.mktemp("family")
    path = write_plain(directory / "tiny.gguf", controls=CONTROLS[family], chat_template=template(family))
    sizes = {"threads": 1, "streams": 4, "stream_tokens": 1024, "context_tokens": 1024}
    engine, card = load(order(path, directory, **sizes))
    with asyncio.Runner() as runner:
        backend = LocalBackend(InlineEngine(engine, card))
        runner.run(backend.start())
        yield Speaker(runner, backend)
        runner.run(backend.close())


def check_calls(message: Message, *, is_whole: bool) -> int:
    """Every call of a whole answer is sound. Returns how many there are."""
    calls = message.tool_calls or ()
    for call in calls if is_whole else calls[:-1]:
        match call:
            case FunctionToolCall(function=called) if called.name == "get_tide":
                jsonschema.validate(json.loads(called.arguments), TIDE)
            case FunctionToolCall(function=called):
                assert (called.name, called.arguments) == ("now", "{}")
            case CustomToolCall(custom=called):
                assert called.name == "dial"
                assert re.fullmatch(r"\+33[0-9]{3}", called.input)
    return len(calls)


def test_what_must_call_calls_and_says_nothing(speaker: Speaker, family: str) -> None:
    choices = speaker.ask(tools=TOOLS, tool_choice="required", n=4, seed=1, max_tokens=300)
    for choice in choices:
        is_whole = choice.finish_reason == "tool_calls"
        n_calls = check_calls(choice.message, is_whole=is_whole)
        assert choice.message.content is None or not n_calls
        assert n_calls >= 1
        assert n_calls == 1 or family not in ONE_CALL


def test_one_tool_by_name_once(speaker: Speaker) -> None:
    for kind, name in (("function", "get_tide"), ("custom", "dial")):
        (choice,) = speaker.ask(
            tools=TOOLS, tool_choice={"type": kind, kind: {"name": name}}, parallel_tool_calls=False, seed=2
        )
        assert choice.finish_reason == "stop"
        assert check_calls(choice.message, is_whole=True) == 1


def test_what_may_call_speaks_or_calls(speaker: Speaker) -> None:
    choices = speaker.ask(tools=TOOLS, n=4, seed=3, max_tokens=300)
    for choice in choices:
        n_calls = check_calls(choice.message, is_whole=choice.finish_reason == "tool_calls")
        assert bool(n_calls) >= (choice.finish_reason == "tool_calls")
        assert n_calls or choice.message.content is not None


def test_a_document_is_all_there_is(speaker: Speaker) -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "tide", "schema": TIDE, "strict": True}}
    (choice,) = speaker.ask(response_format=schema, logprobs=True, seed=4, max_tokens=400)
    assert choice.finish_reason == "stop"
    jsonschema.validate(json.loads(choice.message.content or ""), TIDE)
    assert choice.logprobs is not None
    listed = b"".join(bytes(token.bytes or ()) for token in choice.logprobs.content or ())
    assert listed.decode() == choice.message.content


def test_what_a_client_spells_is_no_control_token(family: str, tmp_path: Path) -> None:
    """Whatever the library makes of such tokens: it takes some of gpt-oss's for text, wherever they stand."""
    path = write_plain(tmp_path / "tiny.gguf", controls=CONTROLS[family])
    engine, card = load(order(path, tmp_path, threads=1, streams=1, stream_tokens=256, context_tokens=256))
    controls = {token.id: token.text for token in card.specials if token.kind == "control"}
    assert {*CONTROLS[family]} <= {*controls.values()}
    text = "a".join(CONTROLS[family])
    assert not controls.keys() & {*engine._model.tokens_of(text)}
    assert b"".join(map(engine._model.piece, engine._model.tokens_of(text))).decode() == text
