"""What a dialect's grammar can generate, its parser reads back; and the grammar keeps what the request was promised."""

from __future__ import annotations

import json
import re
from functools import cache
from random import Random

import jsonschema
import pytest

from completionist.dialects.base import Dialect
from completionist.grammar.forms import (
    AnyArguments,
    Callable,
    FreeInput,
    GrammarInput,
    NoArguments,
    Offer,
    StrictArguments,
)
from tests.dialects.families import FAMILIES, card, dialect
from tests.dialects.reading import Answer, read
from tests.dialects.walk import Walker

SCHEMA = {
    "type": "object",
    "properties": {"harbour": {"type": "string"}, "days": {"type": "integer"}, "unit": {"enum": ["m", "ft"]}},
    "required": ["harbour", "days", "unit"],
    "additionalProperties": False,
}
STRICT = Callable(name="get_tide", takes=StrictArguments(json.dumps(SCHEMA)), param="")
CALLABLES = (
    STRICT,
    Callable(name="get_tide_table", takes=AnyArguments(), param=""),
    Callable(name="now", takes=NoArguments(), param=""),
    Callable(name="say", takes=FreeInput(), param=""),
    Callable(name="run_sql", takes=GrammarInput("lark", 'start: "SELECT " COL ("," COL)*\nCOL: /[a-z_]+/'), param=""),
    Callable(name="dial", takes=GrammarInput("regex", r"\+[0-9/]{2,5}"), param=""),
    Callable(name="note", takes=GrammarInput("lark", "start: /[^b]+/"), param=""),
)
"""The last terminal of `note` swallows what should close it."""
N_WALKS = 10
MAX_TOKENS = 200


walker_of = cache(Walker)


def walks(
    family: str, offer: Offer | None, schema: dict[str, object] | None = None, thinking: str = ""
) -> list[tuple[Answer, bool]]:
    speaker: Dialect = dialect(family)
    state = speaker.thinking_after(thinking)
    grammar = speaker.grammar(card(family), offer=offer, schema=schema, thinking=state)
    assert grammar is not None
    walker = walker_of(family)
    found = []
    for seed in range(N_WALKS):
        symbols, is_whole = walker.walk(grammar, Random(seed), max_tokens=MAX_TOKENS)  # noqa: S311 - a repeatable walk
        found.append((read(speaker.parser(offer, state), symbols), is_whole))
    return found


def check_calls(answer: Answer, *, is_whole: bool) -> None:
    for call in answer.calls:
        takes = next(tool.takes for tool in CALLABLES if tool.name == call.name)
        assert call.is_custom == isinstance(takes, FreeInput | GrammarInput)
        if is_whole and not isinstance(takes, GrammarInput):
            assert call.is_whole
        if not (call.is_whole or is_whole):
            continue
        match takes:
            case StrictArguments():
                jsonschema.validate(json.loads(call.arguments), SCHEMA)
                assert list(json.loads(call.arguments)) == list(SCHEMA["properties"])  # type: ignore[call-overload] # a dict
            case AnyArguments():
                assert isinstance(json.loads(call.arguments), dict)
            case NoArguments():
                assert call.arguments == "{}"
            case GrammarInput("lark", "start: /[^b]+/"):
                assert call.arguments
            case GrammarInput("lark"):
                assert re.fullmatch(r"SELECT [a-z_]+(,[a-z_]+)*", call.arguments)
            case GrammarInput("regex"):
                assert re.fullmatch(r"\+[0-9/]{2,5}", call.arguments)


@pytest.mark.parametrize("family", FAMILIES)
def test_required_calls_are_calls_and_nothing_else(family: str) -> None:
    found = walks(family, Offer(callables=CALLABLES, is_required=True))
    assert sum(is_whole for _, is_whole in found) > N_WALKS / 4
    assert len({call.name for answer, _ in found for call in answer.calls}) > 1
    for answer, is_whole in found:
        assert answer.text == ""  # nor is a head that was cut off
        assert is_whole <= bool(answer.calls)
        check_calls(answer, is_whole=is_whole)


@pytest.mark.parametrize("family", FAMILIES)
def test_auto_is_text_or_sound_calls(family: str) -> None:
    found = walks(family, Offer(callables=CALLABLES, is_required=False))
    assert any(answer.text for answer, _ in found)
    for answer, is_whole in found:
        check_calls(answer, is_whole=is_whole)


@pytest.mark.parametrize("family", FAMILIES)
def test_one_call_where_calls_are_not_parallel(family: str) -> None:
    found = walks(family, Offer(callables=CALLABLES, is_required=True, max_calls=1))
    for answer, is_whole in found:
        assert len(answer.calls) == 1 or not is_whole
        assert len(answer.calls) <= 1


@pytest.mark.parametrize("family", FAMILIES)
def test_a_document_is_valid_and_never_a_call(family: str) -> None:
    found = walks(family, None, SCHEMA)
    assert sum(is_whole for _, is_whole in found) > N_WALKS / 4
    for answer, is_whole in found:
        assert not answer.calls
        if is_whole:
            jsonschema.validate(json.loads(answer.text), SCHEMA)


@pytest.mark.parametrize("family", FAMILIES)
def test_beside_a_document_calls_are_possible(family: str) -> None:
    found = walks(family, Offer(callables=CALLABLES, is_required=False), SCHEMA)
    assert any(answer.calls for answer, _ in found)
    for answer, is_whole in found:
        check_calls(answer, is_whole=is_whole)
        assert is_whole <= (not answer.calls or not answer.text)
        if is_whole and not answer.calls:
            jsonschema.validate(json.loads(answer.text), SCHEMA)


@pytest.mark.parametrize(
    ("family", "prompt_end"),
    [
        ("hermes thinking", "assistant\n<think>\n"),
        ("mistral", "[THINK]"),
        ("gemma", "<|channel>thought\n"),
        ("deepseek fenced", "<think>\n"),
    ],
)
def test_thinking_that_the_template_opened_comes_first(family: str, prompt_end: str) -> None:
    found = walks(family, Offer(callables=CALLABLES, is_required=True), thinking=prompt_end)
    assert any(answer.thought and answer.calls for answer, _ in found)
    for answer, is_whole in found:
        assert is_whole <= (answer.text == "")
        check_calls(answer, is_whole=is_whole)


@pytest.mark.parametrize("family", FAMILIES)
def test_free_text_needs_no_grammar(family: str) -> None:
    assert dialect(family).grammar(card(family), offer=None, schema=None, thinking="possible") is None


def test_a_header_is_written_for_a_model_that_is_not_to_think() -> None:
    speaker = dialect("harmony")
    grammar = speaker.grammar(card("harmony"), offer=None, schema=None, thinking="closed")
    assert grammar is not None
    symbols, _ = walker_of("harmony").walk(grammar, Random(1), max_tokens=20)  # noqa: S311 - a repeatable walk
    assert "".join(symbols[:3]) == "\udc00<|channel|>\udc01final\udc00<|message|>\udc01"
    assert read(speaker.parser(None, "closed"), symbols) == Answer(text="".join(symbols[3:]))
