"""Grammars, predictions and thinking budgets over a real vocabulary, step by step in this process."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from completionist.engine.base import (
    ControlToken,
    End,
    Failed,
    GrammarRefused,
    GrammarSpec,
    PlainText,
    Prompt,
    PromptTooLong,
    Segment,
    ThinkingBudget,
    Token,
    TokenEvent,
    WorkerFault,
)
from completionist.engine.llama.loading import load
from completionist.engine.llama.loop import Engine
from completionist.grammar.lark import json_value
from tests.engine.asking import Answer, chat, has_work, prompt
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
def engine(short_model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The shortened model: what holds an answer holds it whatever the model would rather say."""
    engine = load(order(short_model_path, tmp_path_factory.mktemp("cache"), streams=4, stream_tokens=512))[0]
    yield engine
    assert not has_work(engine)
    engine._memory.check()


@pytest.fixture(scope="module")
def whole(model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """Says words: a prediction of them is cut into the same tokens, and a grammar that fails under way is reached."""
    return load(order(model_path, tmp_path_factory.mktemp("cache"), streams=4, stream_tokens=512))[0]


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
    while has_work(engine):
        if engine.must_wait:  # for a grammar
            time.sleep(0.001)
            continue
        engine.step()
        seen += [event for _, event in engine.take_events()]
    return seen


def answer(engine: Engine, one: Prompt) -> Answer:
    return run(engine, {1: one})[1]


def test_an_answer_always_fits_its_schema(engine: Engine) -> None:
    wave = answer(engine, steered(n=9, max_tokens=120, temperature=1.5, grammar=SCHEMA))
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
    for place in (0, 5):  # one that was forced, and one behind others that were
        written = b"".join(token.piece for token in tokens[:place]).decode()
        segments = (*chat(QUESTION), *([PlainText(written)] if written else []))
        alone = steered(max_tokens=1, n_alternatives=3, project="cold", segments=segments)
        (first,) = [event for event in events(engine, alone) if isinstance(event, Token)]
        expected, seen = ({one.text: one.logprob for one in each.alternatives} for each in (first, tokens[place]))
        assert len(expected.keys() & seen.keys()) >= 2
        for text in expected.keys() & seen.keys():
            assert seen[text] == pytest.approx(expected[text], abs=0.5)


@pytest.mark.parametrize("source", ["start: (", "start: X\nX: /a/ & /b/\n"], ids=["broken", "nothing fits"])
def test_a_grammar_that_cannot_be_used_is_refused(engine: Engine, source: str) -> None:
    refused = answer(engine, steered(grammar=GrammarSpec(source, has_client_rules=True)))
    assert refused.accepted is None
    assert isinstance(refused.fault, GrammarRefused)
    assert refused.fault.reason


DEEP = {
    "note": {"type": "string", "maxLength": 4},
    "soundings": {"type": "object", "properties": {f"depth_{i}": {"type": "integer"} for i in range(600)}},
}
"""More optional properties than a row of the grammar may have, where no trial of its first characters comes to."""
TOO_MUCH = "start: " + json_value({"type": "object", "properties": DEEP, "required": list(DEEP)})
NOWHERE = 'start: "{" /[a-z]{4}/ X\nX: /a/ & /b/'


@pytest.mark.parametrize("n_alternatives", [None, 0])
@pytest.mark.parametrize(("source", "is_dead_end"), [(TOO_MUCH, False), (NOWHERE, True)])
def test_where_a_grammar_fails_under_way_the_looser_one_goes_on(
    whole: Engine, source: str, is_dead_end: bool, n_alternatives: int | None
) -> None:
    held = GrammarSpec(source, has_client_rules=False)
    failed = answer(whole, steered(max_tokens=60, grammar=held, n_alternatives=n_alternatives))
    assert isinstance(failed.fault, GrammarRefused)
    assert failed.fault.is_dead_end == is_dead_end
    looser = GrammarSpec('start: "{" /(?s:.{6,40})/ "8"', has_client_rules=False)
    loosened = answer(whole, steered(n=2, max_tokens=60, grammar=held, looser=looser, n_alternatives=n_alternatives))
    assert loosened.ends.keys() == {0, 1}
    assert all(piece.startswith(failed.pieces[0]) for piece in loosened.pieces.values())
    assert all(len(piece) > len(failed.pieces[0]) for piece in loosened.pieces.values())


def test_an_answer_that_is_cancelled_while_its_grammar_compiles_leaves_nothing(engine: Engine) -> None:
    hostile = GrammarSpec("start: " + " ".join(f"/(a|b)*c{{{i}}}/" for i in range(1, 200)), has_client_rules=True)
    engine.submit(1, steered(grammar=hostile))
    engine.cancel(1)
    assert not has_work(engine)
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


def test_other_answers_go_on_while_a_large_grammar_compiles(engine: Engine) -> None:
    """Which takes longer than a hundred steps of this model."""
    properties = {f"depth_{i}": {"type": "string", "pattern": "^[a-z]{3}$"} for i in range(3000)}
    large = "start: " + json_value({"type": "object", "properties": properties})
    engine.submit(1, steered(grammar=GrammarSpec(large, has_client_rules=False)))
    engine.submit(2, steered(max_tokens=20))
    seen: dict[int, list[TokenEvent]] = {1: [], 2: []}
    while has_work(engine):
        engine.step()
        for request_id, event in engine.take_events():
            seen[request_id].append(event)
        if any(isinstance(event, End) for event in seen[2]):
            engine.cancel(1)
    assert not any(isinstance(event, Token) for event in seen[1])
    assert sum(isinstance(event, Token) for event in seen[2]) == 20


CLOSING = (PlainText("\n</think>\n\n"),)


def thinking(n_thoughts: int, closing: tuple[Segment, ...] = CLOSING, **fields: object) -> Prompt:
    return steered("Think.", thinking=ThinkingBudget(n_thoughts, closing), **fields)  # type: ignore[arg-type]  # as above


@pytest.mark.parametrize("n_thoughts", [0, 1, 7])
def test_thinking_is_closed_when_its_budget_is_used_up(engine: Engine, n_thoughts: int) -> None:
    free = answer(engine, steered("Think.", max_tokens=30))
    closed = answer(engine, thinking(n_thoughts, max_tokens=30))
    assert closed.tokens[0][:n_thoughts] == free.tokens[0][:n_thoughts]
    written = b"".join(engine._model.piece(token) for token in closed.tokens[0][n_thoughts:])
    assert written.startswith(b"\n</think>\n\n")
    assert closed.pieces[0].count(b"</think>") == 1
    assert len(closed.tokens[0]) == 30


def test_a_closing_marker_may_be_a_control_token(engine: Engine) -> None:
    (control,) = [token.id for token in engine._model.specials() if token.text == "<repo_name>"]
    closed = answer(engine, thinking(4, (ControlToken(control), PlainText("\n")), max_tokens=12))
    assert closed.tokens[0][4] == control
    assert closed.tokens[0].count(control) == 1


def test_thinking_that_ends_by_itself_is_left_alone(engine: Engine) -> None:
    """Held to a grammar, so that this model writes the marker at all, cut elsewhere than the engine would."""
    spec = GrammarSpec('start: "I know.</think> Ships" / sail[a-z]{0,3}/', has_client_rules=False)
    for n_alternatives in (None, 2):
        closed = answer(engine, thinking(9, max_tokens=40, grammar=spec, n_alternatives=n_alternatives))
        assert closed.pieces[0].startswith(b"I know.</think> Ships sail")
        assert closed.ends == {0: "end_of_turn"}


def test_a_grammar_goes_on_behind_thinking_that_was_closed(engine: Engine) -> None:
    source = """
        start: thought BLANKS? %json {"type": "object", "properties": {"n": {"enum": [7]}}, "required": ["n"],
            "additionalProperties": false, "x-guidance": {"whitespace_flexible": false}}
        thought[lazy]: TEXT "</think>"
        BLANKS: /[ \\n]{1,4}/
        TEXT: /(?s:.*)/
    """
    spec = GrammarSpec(source, has_client_rules=False)
    for n_alternatives in (None, 0):
        closed = answer(engine, thinking(5, max_tokens=60, grammar=spec, n_alternatives=n_alternatives))
        thought, document = closed.pieces[0].split(b"</think>")
        assert thought
        assert json.loads(document) == {"n": 7}
        assert closed.ends == {0: "end_of_turn"}


def test_a_closing_marker_that_the_grammar_does_not_know_fails_the_request(engine: Engine) -> None:
    spec = GrammarSpec('start: "yes" | "no"', has_client_rules=False)
    assert isinstance(answer(engine, thinking(0, grammar=spec)).fault, WorkerFault)


def test_a_prediction_is_of_what_comes_after_the_thinking(whole: Engine) -> None:
    spec = GrammarSpec('start: TEXT "</think>" "\\n\\n" /[a-z ]{30}/\nTEXT: /(?s:.*)/', has_client_rules=False)
    plain = answer(whole, thinking(5, max_tokens=60, grammar=spec))
    text = plain.pieces[0].split(b"</think>\n\n")[1].decode()
    seen = events(whole, thinking(5, max_tokens=60, grammar=spec, prediction=text))
    (end,) = [event for event in seen if isinstance(event, End)]
    assert end.accepted_prediction_tokens >= 4


def test_a_long_prompt_is_tokenised_beside_the_steps(engine: Engine) -> None:
    """It is refused for its length here; what matters is that the others went on meanwhile."""
    engine.submit(1, steered(max_tokens=8))
    engine.submit(2, steered("word and more " * 150_000))
    assert [event for request_id, event in engine.take_events() if request_id == 2] == []
    seen: list[tuple[int, TokenEvent]] = []
    while has_work(engine):
        engine.step()
        seen += engine.take_events()
    (refused,) = [event for request_id, event in seen if request_id == 2]
    assert isinstance(refused, Failed)
    assert isinstance(refused.fault, PromptTooLong)
    assert refused.fault.prompt_tokens > 300_000


def test_predicted_answers_differ_from_plain_ones_only_where_two_tokens_are_close(whole: Engine) -> None:
    """Rows of one call are rounded otherwise than single ones: contract 13.6."""
    n_flips = n_tokens = 0
    for text in ("Write about a lighthouse.", "def fibonacci(n):"):
        plain = [e for e in events(whole, steered(text, max_tokens=30, n_alternatives=2)) if isinstance(e, Token)]
        written = b"".join(token.piece for token in plain).decode()
        predicted = answer(whole, steered(text, max_tokens=30, prediction=written)).tokens[0]
        n_tokens += len(predicted)
        for token, other in zip(plain, predicted, strict=False):
            if token.id != other:
                n_flips += 1
                best, second = token.alternatives
                assert best.logprob - second.logprob <= 1.5
                break
    assert n_tokens == 60
    assert n_flips <= 2
