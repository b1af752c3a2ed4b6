"""Bursts of requests that say that they stay short: they start beside full streams, and end as if alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from completionist.engine.base import Failed, QueueFull, StreamRange
from completionist.engine.llama.loading import load
from completionist.engine.llama.loop import Engine
from completionist.engine.llama.sizing import SHORT_TOKENS
from completionist.engine.llama.streams import Streams
from tests.engine.asking import Answer, has_work, prompt
from tests.engine.test_memory import STORY, evaluated, order, run

pytestmark = pytest.mark.model
WIDE, SHORT = 2, 4


@pytest.fixture
def engine(short_model_path: Path, tmp_path: Path) -> Engine:
    sizes: dict[str, object] = {"streams": WIDE, "stream_tokens": 1024, "context_tokens": 1024, "short_streams": SHORT}
    loaded, card = load(order(short_model_path, tmp_path, **sizes))
    assert card.ranges == (StreamRange(WIDE, 1024), StreamRange(SHORT, SHORT_TOKENS))
    assert card.context_tokens == 1024
    return loaded


def pools(engine: Engine) -> tuple[Streams, Streams]:
    wide, short = engine._memory.pools
    return wide, short


def submit(engine: Engine, first_id: int, n: int, **changes: object) -> None:
    for i in range(first_id, first_id + n):
        engine.submit(i, prompt(f"{i} is a number. Tell me about it.", **changes))  # type: ignore[arg-type]


def test_a_burst_fills_short_streams_when_the_others_are_full(engine: Engine) -> None:
    wide, short = pools(engine)
    submit(engine, 0, 1)
    engine.step()
    assert (wide.n_free, short.n_free) == (WIDE - 1, SHORT)
    submit(engine, 1, WIDE + SHORT + 2)
    for _ in range(3):  # what they have in common is computed once
        engine.step()
    stats = engine.stats()
    assert (wide.n_free, short.n_free, stats.running, stats.waiting) == (0, 0, WIDE + SHORT, 3)
    while has_work(engine):
        engine.step()
    engine._memory.check()


def test_a_burst_computes_once_even_a_short_beginning_that_it_has_in_common(engine: Engine) -> None:
    n = WIDE + SHORT
    for i in range(n):
        engine.submit(i, prompt(f"Of all the countries that lie on that river between two seas: name town {i}."))
    while engine._newcomers:  # until all texts are tokens
        engine._welcome()
    while has_work(engine):
        engine.step()
    assert 16 * (n - 1) <= engine.stats().cached_tokens_total < 64 * (n - 1)


def test_who_sets_no_limit_or_a_high_one_waits_for_a_long_stream(engine: Engine) -> None:
    wide, short = pools(engine)
    submit(engine, 0, WIDE)
    engine.step()
    submit(engine, 10, 1, max_tokens=None)
    submit(engine, 11, 1, max_tokens=SHORT_TOKENS)
    engine.step()
    assert (wide.n_free, short.n_free, engine.stats().waiting) == (0, SHORT, 2)
    for i in (10, 11):
        engine.cancel(i)
    while has_work(engine):
        engine.step()


def test_free_short_streams_make_no_room_for_who_waits_for_another(short_model_path: Path, tmp_path: Path) -> None:
    sizes: dict[str, object] = {"streams": 1, "stream_tokens": 1024, "context_tokens": 1024, "short_streams": SHORT}
    engine, card = load(order(short_model_path, tmp_path, **sizes, max_waiting=0))
    assert card.streams == 1
    submit(engine, 0, 1)
    engine.step()
    submit(engine, 1, 1, max_tokens=None)
    assert (1, Failed(QueueFull("default"))) in engine.take_events()
    assert engine.stats().waiting == 0
    while has_work(engine):
        engine.step()


def test_answers_in_short_streams_are_the_same_and_what_they_share_is_copied(engine: Engine) -> None:
    questions = {i: prompt(STORY * 6 + f"Question {i}:", max_tokens=20) for i in range(WIDE + SHORT)}
    together = run(engine, questions)
    alone = {i: run(engine, {i: one})[i] for i, one in questions.items()}
    assert {i: one.tokens for i, one in together.items()} == {i: one.tokens for i, one in alone.items()}
    n_prompt = min(one.accepted.prompt_tokens for one in together.values() if one.accepted)
    cached = sorted(evaluated(one).cached_tokens for one in together.values())
    assert cached[0] == 0
    assert cached[1] > n_prompt * 0.8
    assert engine._memory.pools[1].n_free == SHORT


def test_a_short_stream_is_full_when_the_limit_is_reached(engine: Engine) -> None:
    wide, _ = pools(engine)
    n_prompt = _n_tokens(engine, "Count from one to a thousand, in words.")
    submit(engine, 0, WIDE, max_tokens=None)
    engine.step()
    limit = SHORT_TOKENS - n_prompt
    engine.submit(9, prompt("Count from one to a thousand, in words.", max_tokens=limit))
    answer = Answer()
    while not answer.ends and answer.fault is None:
        engine.step()
        assert wide.n_free < 2
        for request_id, event in engine.take_events():
            if request_id == 9:
                answer.add(event)
    assert answer.fault is None
    assert answer.ends == {0: "length"} or len(answer.tokens[0]) < limit
    for i in range(WIDE):
        engine.cancel(i)
    engine.step()
    engine._memory.check()


def _n_tokens(engine: Engine, text: str) -> int:
    accepted = run(engine, {0: prompt(text, max_tokens=1)})[0].accepted
    assert accepted
    return accepted.prompt_tokens


def test_when_it_is_quiet_short_streams_are_left(engine: Engine) -> None:
    """One call then does for all."""
    wide, short = pools(engine)
    submit(engine, 0, WIDE, max_tokens=8)
    engine.step()
    questions = {9: prompt("Tell a long story.", max_tokens=60)}
    engine.submit(9, questions[9])
    engine.step()
    assert short.n_free == SHORT - 1
    answer = Answer()
    while has_work(engine):
        engine.step()
        for request_id, event in engine.take_events():
            if request_id == 9:
                answer.add(event)
        if len(answer.tokens[0]) == 30:
            assert (wide.n_free, short.n_free) == (WIDE - 1, SHORT)
    assert answer.tokens == run(engine, questions)[9].tokens


def test_choices_of_one_request_may_be_in_both(engine: Engine) -> None:
    question = prompt("Tell a story.", n=WIDE + SHORT + 3, max_tokens=10, temperature=1.0)
    answer = run(engine, {1: question})[1]
    assert sorted(answer.ends) == list(range(WIDE + SHORT + 3))
    again = run(engine, {2: question})[2]
    assert again.tokens == answer.tokens
