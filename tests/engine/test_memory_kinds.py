"""Sliding windows and recurrent states: what is reused says the same as a cold run, and what cannot be is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from completionist.engine.base import PlainText, Prompt, Sampling
from completionist.engine.llama.loading import load
from completionist.engine.llama.loop import Engine
from tests.engine.asking import Answer
from tests.engine.test_memory import evaluated, order, run, run_with_a_wait
from tests.engine.tiny_models import WINDOW, write_recurrent, write_sliding_window

ALPHABET = "".join(chr(97 + i * i % 26) for i in range(400))


def engines(write: Callable[[Path], Path], directory: Path) -> tuple[Engine, Engine]:
    """One that keeps prefixes, one that does not."""
    path = write(directory / "tiny.gguf")
    warm, card = load(order(path, directory, threads=1, context_tokens=1024))
    assert card.context_tokens == 1024  # sequences of these kinds do not move: every stream has the full length
    return warm, load(order(path, directory, threads=1, context_tokens=1024, cache_bytes=0))[0]


def greedy(text: str, max_tokens: int = 10) -> Prompt:
    sampling = Sampling(temperature=0, seed=1)
    return Prompt(project="p", segments=(PlainText(text),), max_tokens=max_tokens, sampling=sampling)


def say(engine: Engine, text: str, max_tokens: int = 10) -> Answer:
    return run(engine, {1: greedy(text, max_tokens)})[1]


@pytest.fixture(scope="module")
def windowed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Engine, Engine]:
    return engines(write_sliding_window, tmp_path_factory.mktemp("window"))


@pytest.fixture(scope="module")
def recurrent(tmp_path_factory: pytest.TempPathFactory) -> tuple[Engine, Engine]:
    return engines(write_recurrent, tmp_path_factory.mktemp("recurrent"))


@pytest.mark.parametrize("n_shared", [0, 20, WINDOW, 100, 250, 399])
def test_a_sliding_window_never_changes_an_answer(n_shared: int, windowed: tuple[Engine, Engine]) -> None:
    warm, cold = windowed
    say(warm, ALPHABET, max_tokens=200)
    text = ALPHABET[:n_shared] + "0123456789" * 6
    assert say(warm, text).tokens == say(cold, text).tokens


def test_a_growing_conversation_reuses_a_windowed_sequence(windowed: tuple[Engine, Engine]) -> None:
    warm, cold = windowed
    text = "Conversation. " + ALPHABET
    say(warm, text)
    longer = text + ALPHABET[::-1]
    again = say(warm, longer)
    assert evaluated(again).cached_tokens == len(text)
    assert again.tokens == say(cold, longer).tokens


def test_states_of_windowed_sequences_come_back_from_host_memory(windowed: tuple[Engine, Engine]) -> None:
    warm, cold = windowed
    texts = [f"{i} {ALPHABET}" for i in range(6)]
    for text in texts:
        say(warm, text, max_tokens=1)
    for text in texts:
        assert say(warm, text + ALPHABET).tokens == say(cold, text + ALPHABET).tokens


def test_a_recurrent_state_is_used_only_where_it_was_saved(recurrent: tuple[Engine, Engine]) -> None:
    warm, cold = recurrent
    first = say(warm, ALPHABET)
    shorter, other = ALPHABET[:-1], ALPHABET[:200] + "0123456789"
    for text in (shorter, other, ALPHABET):
        answer = say(warm, text)
        assert evaluated(answer).cached_tokens == 0
        assert answer.tokens == say(cold, text).tokens
    assert first.tokens == say(cold, ALPHABET).tokens


def test_a_growing_conversation_goes_on_from_the_saved_state(recurrent: tuple[Engine, Engine]) -> None:
    warm, cold = recurrent
    text = "Another. " + ALPHABET
    say(warm, text, max_tokens=1)  # ends with exactly the prompt in memory
    longer = text + ALPHABET[::-1]
    again = say(warm, longer)
    assert evaluated(again).cached_tokens == len(text)
    assert again.tokens == say(cold, longer).tokens


@pytest.mark.parametrize("kind", ["windowed", "recurrent"])
def test_sequences_change_places(kind: str, request: pytest.FixtureRequest) -> None:
    warm, cold = request.getfixturevalue(kind)
    texts = {1: "First. " + ALPHABET[:50], 2: "Second. " + ALPHABET, 3: "Third. " + ALPHABET[:50]}
    answers = run_with_a_wait(warm, {i: greedy(text, max_tokens=60) for i, text in texts.items()})
    for i, text in texts.items():
        assert answers[i].tokens == say(cold, text, max_tokens=60).tokens
