"""Grammars over the vocabulary of a real model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from completionist.engine.base import GrammarSpec, PlainText
from completionist.engine.llama.capi import Native
from completionist.engine.llama.library import find_library
from completionist.engine.llama.matcher import GrammarFailed, Grammars, Matcher, forbid
from completionist.engine.llama.model import Model
from completionist.grammar.compile import Layout, answer_grammar
from completionist.grammar.forms import Callable, Form, GrammarInput, Offer

OPTIONS = '"x-guidance": {"whitespace_flexible": false, "item_separator": ", ", "key_separator": ": "}'
TIDE = (
    "start: %json {" + OPTIONS + ', "type": "object", "properties": {"harbour": {"type": "string"}, '
    '"unit": {"enum": ["metres", "feet"]}}, "required": ["harbour", "unit"], "additionalProperties": false}'
)
CALL = r"""
start: TEXT | head "\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>"
head[lazy]: TEXT "<tool_call>"
TEXT: /(?s:.*)/
"""
pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def model(model_path: Path) -> Iterator[Model]:
    model = Model(Native(find_library().path), model_path)
    yield model
    model.close()


@pytest.fixture(scope="module")
def grammars(model: Model) -> Grammars:
    return Grammars(model)


def compiled(grammars: Grammars, source: str) -> Matcher:
    return grammars.compile(GrammarSpec(source, has_client_rules=True)).result()


def tokens(model: Model, text: str) -> list[int]:
    return model.tokenise((PlainText(text),))[0]


def place(matcher: Matcher) -> tuple[bool, bool]:
    """Whether the answer may end, and whether it must."""
    return matcher.is_accepting, matcher.is_over


def advance(matcher: Matcher, ids: list[int]) -> None:
    for token in ids:
        matcher.accept(token)


def allowed(matcher: Matcher, model: Model) -> list[int]:
    bits = np.unpackbits(matcher.allowed().view(np.uint8), count=model.vocabulary_size, bitorder="little")
    return [int(token) for token in np.flatnonzero(bits)]


def test_only_what_fits_is_allowed_and_the_end_is_the_end_of_turn(model: Model, grammars: Grammars) -> None:
    matcher = compiled(grammars, TIDE)
    assert {model.piece(token)[:1] for token in allowed(matcher, model)} == {b"{"}
    assert place(matcher) == (False, False)
    advance(matcher, tokens(model, '{"harbour": "Brest", "unit": "feet"}'))
    assert place(matcher) == (True, True)
    assert all(model.ends_turn(token) for token in allowed(matcher, model))


def test_logits_of_other_tokens_become_impossible(model: Model, grammars: Grammars) -> None:
    row = np.zeros(model.vocabulary_size, np.float32)
    matcher = compiled(grammars, TIDE)
    forbid(row, matcher.allowed())
    assert [int(token) for token in np.flatnonzero(np.isfinite(row))] == allowed(matcher, model)


def test_greedy_walks_of_random_logits_end_in_valid_documents(model: Model, grammars: Grammars) -> None:
    random = np.random.default_rng(7)
    for _ in range(5):
        matcher, written = compiled(grammars, TIDE), b""
        while not matcher.is_over and len(written) < 2_000:
            row = random.standard_normal(model.vocabulary_size).astype(np.float32)
            row[tokens(model, '"')] += 4
            forbid(row, matcher.allowed())
            token = int(row.argmax())
            matcher.accept(token)
            written += model.piece(token)
        if matcher.is_over:
            assert list(json.loads(written)) == ["harbour", "unit"]


def test_forced_tokens_are_as_the_model_writes_them(model: Model, grammars: Grammars) -> None:
    matcher = compiled(grammars, TIDE)
    advance(matcher, tokens(model, '{"harbour": "Brest", '))
    forced = matcher.forced()
    assert b"".join(map(model.piece, forced)) == b'"unit": "'
    assert forced == tokens(model, '"unit": "')
    assert matcher.n_fitting([*forced, *tokens(model, "yards")]) == len(forced)
    advance(matcher, forced)
    assert {model.piece(token)[:1] for token in allowed(matcher, model)} == {b"m", b"f"}


def test_rolling_back_is_as_if_it_had_not_happened(model: Model, grammars: Grammars) -> None:
    matcher = compiled(grammars, TIDE)
    start = tokens(model, '{"harbour": "')
    advance(matcher, start)
    before = allowed(matcher, model)
    rest = tokens(model, 'Brest", "unit": "feet"}')
    advance(matcher, rest)
    assert place(matcher) == (True, True)
    matcher.rollback(len(rest))
    assert allowed(matcher, model) == before
    assert place(matcher) == (False, False)
    with pytest.raises(GrammarFailed):
        matcher.rollback(10_000)


def test_copies_go_on_by_themselves(model: Model, grammars: Grammars) -> None:
    first = compiled(grammars, TIDE)
    second = first.copy()
    advance(first, tokens(model, '{"harbour": "Brest"'))
    assert {model.piece(token)[:1] for token in allowed(second, model)} == {b"{"}


def test_text_is_free_until_the_marker(model: Model, grammars: Grammars) -> None:
    matcher = compiled(grammars, CALL)
    n_before = len(allowed(matcher, model))
    assert n_before > model.vocabulary_size * 0.9
    advance(matcher, tokens(model, "Let me look.\n<tool_call"))
    assert place(matcher) == (True, False)
    advance(matcher, tokens(model, ">"))
    assert place(matcher) == (False, False)
    assert b"".join(map(model.piece, matcher.forced())).startswith(b'\n{"name": "now"')


def test_control_tokens_never_pass_for_text(model: Model, grammars: Grammars) -> None:
    matcher = compiled(grammars, "start: /(?s:.*)/")
    controls = {token.id for token in model.specials() if token.kind == "control" and not model.ends_turn(token.id)}
    assert controls
    assert not controls & set(allowed(matcher, model))
    with pytest.raises(GrammarFailed):
        matcher.accept(controls.pop())


def test_a_control_token_can_be_asked_for_by_its_number(model: Model, grammars: Grammars) -> None:
    control = next(token.id for token in model.specials() if not model.ends_turn(token.id))
    matcher = compiled(grammars, f'start: "a" <[{control}]> "b"')
    advance(matcher, tokens(model, "a"))
    assert allowed(matcher, model) == [control]
    advance(matcher, [control, *tokens(model, "b")])
    assert matcher.is_over


@pytest.mark.parametrize(
    "source",
    [
        "start: (",
        "start: X\nX: /a/ & /b/\n",
        "start: " + "(" * 60_000 + '"a"' + ")" * 60_000,
        'start: %json {"type": "object", "not": {}}',
        "start: T0\n" + "".join(f"T{i}: T{i + 1} T{i + 1}\n" for i in range(30)) + 'T30: "a"',
    ],
    ids=["broken", "nothing fits", "deep", "keyword", "doubling"],
)
def test_what_cannot_be_compiled_fails_and_nothing_else_does(model: Model, grammars: Grammars, source: str) -> None:
    with pytest.raises(GrammarFailed):
        compiled(grammars, source)
    assert allowed(compiled(grammars, TIDE), model)


def test_a_chain_of_rules_that_overflows_an_ordinary_stack_is_survived(grammars: Grammars) -> None:
    """8 MB of stack end at about 5,000 rules, with the process."""
    chain = "start: r0\n" + "".join(f"r{i}: r{i + 1}\n" for i in range(20_000)) + 'r20000: "a"'
    assert not compiled(grammars, chain).is_over


def test_a_grammar_that_gets_too_complex_under_way_fails_by_itself(model: Model, grammars: Grammars) -> None:
    matcher = compiled(grammars, 'start: e\ne: e e e | e e | "a"')

    def generate() -> None:
        for token in tokens(model, "a" * 2_000):
            matcher.allowed()
            matcher.accept(token)

    with pytest.raises(GrammarFailed):
        generate()


def test_a_terminal_that_swallows_what_ends_it_stops_nobody(model: Model, grammars: Grammars) -> None:
    """What must come is endless: it is taken token by token, and never followed; and the answer may end without it."""
    tool = Callable(name="t", takes=GrammarInput("regex", 'x"+'), param="")
    offer = Offer(callables=(tool,), is_required=True)
    layout = Layout(forms=(Form(opening="[", middle=":", closing="]"),))
    spec = answer_grammar(layout, {}, offer=offer, schema=None, thinking="closed")
    assert spec is not None
    matcher = grammars.compile(spec).result()
    advance(matcher, tokens(model, '[t:{"input": "x"'))
    for _ in range(20):
        assert matcher.forced() == []
        assert all(set(model.piece(token)) <= set(b'"') for token in allowed(matcher, model))
        advance(matcher, tokens(model, '"'))
        assert place(matcher) == (True, False)
