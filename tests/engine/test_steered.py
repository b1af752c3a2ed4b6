"""Grammars, predictions and thinking budgets over the real model, step by step in this process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from completionist.engine.base import (
    End,
    GrammarRefused,
    GrammarSpec,
    PlainText,
    Prompt,
    Token,
    TokenEvent,
)
from completionist.engine.llama.loading import load
from completionist.engine.llama.loop import Engine
from tests.engine.asking import Answer, prompt
from tests.engine.test_memory import order, run

pytestmark = pytest.mark.model

OPTIONS = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
TIDE = {
    "type": "object",
    "properties": {
        "harbour": {"type": "string", "maxLength": 20},
        "unit": {"enum": ["metres", "feet"]},
        "is_spring_tide": {"type": "boolean"},
    },
    "required": ["harbour", "unit", "is_spring_tide"],
    "additionalProperties": False,
    "x-guidance": OPTIONS,
}
SCHEMA = GrammarSpec("start: %json " + json.dumps(TIDE), has_client_rules=False)
QUESTION = "Describe the tide at Brest as JSON."


@pytest.fixture(scope="module")
def engine(model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = load(order(model_path, tmp_path_factory.mktemp("cache"), streams=4, stream_tokens=512))[0]
    yield engine
    assert not engine.has_work
    engine._memory.check()


def steered(text: str = QUESTION, *, n_alternatives: int | None = None, **fields: object) -> Prompt:
    """A prompt with fields of its own, whatever the fields of `prompt` may be."""
    given = {key: fields.pop(key) for key in ("n", "max_tokens", "temperature", "seed") if key in fields}
    made = prompt(text, **given)  # type: ignore[arg-type]  # the fields' types are the function's own
    sampling = msgspec.structs.replace(made.sampling, n_alternatives=n_alternatives)
    return msgspec.structs.replace(made, sampling=sampling, **fields)


def events(engine: Engine, one: Prompt) -> list[TokenEvent]:
    """Everything that comes for a request that is alone."""
    engine.submit(1, one)
    seen: list[TokenEvent] = []
    while engine.has_work:
        engine.step()
        seen += [event for _, event in engine.take_events()]
    return seen


def answer(engine: Engine, one: Prompt) -> Answer:
    return run(engine, {1: one})[1]


@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_an_answer_always_fits_its_schema(engine: Engine, temperature: float) -> None:
    wave = answer(engine, steered(n=9, max_tokens=120, temperature=temperature, grammar=SCHEMA))
    assert set(wave.ends.values()) == {"end_of_turn"}
    for piece in wave.pieces.values():
        document = json.loads(piece)
        assert list(document) == ["harbour", "unit", "is_spring_tide"]
        assert document["unit"] in ("metres", "feet")


def test_forced_tokens_come_without_steps_of_their_own(engine: Engine) -> None:
    before = engine.stats()
    wave = answer(engine, steered(max_tokens=100, grammar=SCHEMA))
    after = engine.stats()
    n_tokens = after.generated_tokens_total - before.generated_tokens_total
    assert n_tokens == len(wave.tokens[0])
    assert after.steps_total - before.steps_total < n_tokens / 2


def test_likelihoods_are_those_of_the_model_alone_whether_forced_or_drawn(engine: Engine) -> None:
    """Asking for them changes no token, and each is read from the row of its own place."""
    plain = answer(engine, steered(max_tokens=100, grammar=SCHEMA))
    tokens = [
        e for e in events(engine, steered(max_tokens=100, grammar=SCHEMA, n_alternatives=3)) if isinstance(e, Token)
    ]
    assert [token.id for token in tokens] == plain.tokens[0]
    assert all(token.likelihood is not None and len(token.alternatives) == 3 for token in tokens)
    written = b"".join(token.piece for token in tokens)
    again = steered(max_tokens=len(tokens), n_alternatives=3)
    for i, token in enumerate(tokens):
        so_far = b"".join(one.piece for one in tokens[:i]).decode()
        segments = (*again.segments, PlainText(so_far)) if so_far else again.segments
        cold = msgspec.structs.replace(again, segments=segments, max_tokens=1, project=f"cold {i}")
        (first, *_) = [e for e in events(engine, cold) if isinstance(e, Token)]
        if i < 6:
            expected = {one.text: one.logprob for one in first.alternatives}
            seen = {one.text: one.logprob for one in token.alternatives}
            assert expected.keys() & seen.keys()
            for text in expected.keys() & seen.keys():
                assert seen[text] == pytest.approx(expected[text], abs=0.3)
        else:
            break
    assert json.loads(written)


@pytest.mark.parametrize("source", ["start: (", "start: X\nX: /a/ & /b/\n"], ids=["broken", "nothing fits"])
def test_a_grammar_that_cannot_be_used_is_refused(engine: Engine, source: str) -> None:
    refused = answer(engine, steered(grammar=GrammarSpec(source, has_client_rules=True)))
    assert refused.accepted is not None
    assert isinstance(refused.fault, GrammarRefused)
    assert refused.fault.reason


def test_an_answer_that_is_cancelled_while_its_grammar_compiles_leaves_nothing(engine: Engine) -> None:
    slow = GrammarSpec("start: " + " ".join(f"/(a|b)*c{{{i}}}/" for i in range(1, 200)), has_client_rules=True)
    engine.submit(1, steered(grammar=slow))
    engine.cancel(1)
    assert not engine.has_work
    engine.step()
    assert not [event for _, event in engine.take_events() if isinstance(event, End)]


def test_a_grammar_with_no_room_ends_with_length(engine: Engine) -> None:
    cut = answer(engine, steered(max_tokens=3, grammar=SCHEMA))
    assert cut.ends == {0: "length"}
    assert len(cut.tokens[0]) == 3


def test_a_whole_wave_of_choices_follows_its_grammar(engine: Engine) -> None:
    spec = GrammarSpec('start: "yes" | "no"', has_client_rules=True)
    wave = answer(engine, steered(n=128, max_tokens=8, temperature=1.0, grammar=spec))
    assert len(wave.ends) == 128
    assert set(wave.pieces.values()) <= {b"yes", b"no"}
