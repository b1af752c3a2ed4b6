"""Several tokens in one call: with them an answer takes fewer calls, and is what it is without them.

The tiny models compute in exact agreement however many rows a call has, so here "the same" is the same to the token.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import msgspec
import pytest

from completionist.engine.base import Evaluated, GrammarSpec, PlainText, Prompt, Sampling, Token
from completionist.engine.llama.loading import load
from completionist.engine.llama.loop import Engine
from completionist.engine.llama.prediction import FIRST_RUN_TOKENS, LONGEST_RUN_TOKENS, Prediction
from tests.engine.asking import Answer, has_work
from tests.engine.test_memory import order
from tests.engine.tiny_models import CONTEXT, token_of, write_recurrent, write_sliding_window

LETTERS = "abcdefghijklmnopqrstuvwxyz"
ONLY_LETTERS = tuple((token_of(letter), 100) for letter in LETTERS)
CALL = GrammarSpec(
    'start: "the depth at the pier is " /[0-9]{2}/ " metres, the wind is " /[a-d]+/ "."', has_client_rules=True
)


@pytest.fixture(scope="module")
def windowed(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    directory = tmp_path_factory.mktemp("window")
    path = write_sliding_window(directory / "tiny.gguf")
    return load(order(path, directory, threads=1, streams=2, stream_tokens=CONTEXT, context_tokens=CONTEXT))[0]


@pytest.fixture(scope="module")
def recurrent(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    directory = tmp_path_factory.mktemp("recurrent")
    path = write_recurrent(directory / "tiny.gguf")
    return load(order(path, directory, threads=1, streams=2, stream_tokens=CONTEXT, context_tokens=CONTEXT))[0]


@pytest.fixture(params=["windowed", "recurrent"])
def either(request: pytest.FixtureRequest) -> Engine:
    engine: Engine = request.getfixturevalue(request.param)
    return engine


def question(*, n: int = 1, max_tokens: int = 100, prediction: str | None = None, **sampling: Any) -> Prompt:
    """Answered in letters alone, so that an answer can be predicted as text."""
    values: dict[str, Any] = {"temperature": 0.0, "seed": 3, "logit_bias": ONLY_LETTERS, **sampling}
    return Prompt(
        project="p",
        segments=(PlainText("say something"),),
        n=n,
        max_tokens=max_tokens,
        sampling=Sampling(**values),
        prediction=prediction,
    )


class Outcome(Answer):
    """An answer, the likelihoods in it, and what it took."""

    def __init__(self) -> None:
        super().__init__()
        self.n_steps = 0
        self.accepted_tokens = self.rejected_tokens = 0
        self.logprobs: list[float] = []


def outcome(engine: Engine, request: Prompt) -> Outcome:
    """Run `request` alone, holding the books against the library after every step."""
    seen, before = Outcome(), engine.stats().steps_total
    engine.submit(1, request)
    while has_work(engine):
        if engine.must_wait:  # for a grammar
            time.sleep(0.001)
            continue
        engine.step()
        for sequence in engine._memory.running():
            assert sequence.pool is not None
            assert sequence.pool.context.n_cells(sequence.stream) == sequence.n_cells < len(sequence.tokens)
        for _, event in engine.take_events():
            seen.add(event)
            if isinstance(event, Token) and event.likelihood:
                seen.logprobs.append(event.likelihood.logprob)
            elif not isinstance(event, Token | Evaluated):
                seen.accepted_tokens += getattr(event, "accepted_prediction_tokens", 0)
                seen.rejected_tokens += getattr(event, "rejected_prediction_tokens", 0)
    seen.n_steps = engine.stats().steps_total - before
    return seen


def test_a_prediction_that_is_right_takes_few_steps(windowed: Engine) -> None:
    plain = outcome(windowed, question(max_tokens=300))
    text = plain.pieces[0].decode()
    predicted = outcome(windowed, question(max_tokens=300, prediction=text))
    assert predicted.tokens == plain.tokens
    assert predicted.ends == plain.ends
    assert predicted.n_steps <= 3 + 300 // LONGEST_RUN_TOKENS + 3
    assert predicted.rejected_tokens == 0
    assert 300 - predicted.accepted_tokens <= predicted.n_steps


def test_a_prediction_that_is_half_right_is_taken_up_again_behind_what_is_wrong(windowed: Engine) -> None:
    plain = outcome(windowed, question(max_tokens=300, temperature=1.0))
    text = plain.pieces[0].decode()
    wrong = text[:100] + "0123456789" * 5 + text[200:]
    predicted = outcome(windowed, question(max_tokens=300, temperature=1.0, prediction=wrong))
    assert predicted.tokens == plain.tokens
    assert predicted.accepted_tokens >= 150
    assert 0 < predicted.rejected_tokens <= 2 * LONGEST_RUN_TOKENS
    assert predicted.n_steps + predicted.accepted_tokens == plain.n_steps


def test_a_prediction_that_is_wrong_costs_one_attempt(windowed: Engine) -> None:
    plain = outcome(windowed, question())
    predicted = outcome(windowed, question(prediction=plain.pieces[0][:1].decode() + "0123456789" * 10))
    assert predicted.tokens == plain.tokens
    assert (predicted.accepted_tokens, predicted.rejected_tokens) == (0, FIRST_RUN_TOKENS)
    assert predicted.n_steps == plain.n_steps


def test_memory_that_takes_nothing_back_is_never_asked_to(recurrent: Engine) -> None:
    plain = outcome(recurrent, question())
    predicted = outcome(recurrent, question(prediction=plain.pieces[0].decode()))
    assert predicted.tokens == plain.tokens
    assert (predicted.accepted_tokens, predicted.rejected_tokens) == (0, 0)


@pytest.mark.parametrize("options", [{"temperature": 1.0}, {"temperature": 0.6, "top_p": 0.8}], ids=["all", "nucleus"])
def test_what_is_drawn_does_not_depend_on_what_is_predicted(windowed: Engine, options: dict[str, Any]) -> None:
    """The very same draws, so the very same distribution; it is looked at all the same."""
    plain = outcome(windowed, question(n=128, max_tokens=12, **options))
    favourite, _ = Counter(plain.pieces.values()).most_common(1)[0]
    predicted = outcome(windowed, question(n=128, max_tokens=12, prediction=favourite.decode(), **options))
    assert predicted.accepted_tokens
    assert predicted.rejected_tokens
    assert predicted.tokens == plain.tokens


def test_a_prediction_leaves_the_distribution_alone(windowed: Engine) -> None:
    """Other seeds, so other draws: the shares of the second letters must agree as two samples of one distribution do."""
    options: dict[str, Any] = {"n": 128, "max_tokens": 7, "temperature": 1.0}
    plain = [outcome(windowed, question(seed=seed, **options)) for seed in range(3)]
    guess = Counter(text for one in plain for text in one.pieces.values()).most_common(1)[0][0].decode()
    predicted = [outcome(windowed, question(seed=100 + seed, prediction=guess, **options)) for seed in range(3)]
    assert sum(one.accepted_tokens for one in predicted) > 50
    for place in range(7):
        ours, theirs = (_counts(answers, place) for answers in (predicted, plain))
        letters = [letter for letter in ours | theirs if ours[letter] + theirs[letter] >= 20]
        chi_squared = sum((ours[x] - theirs[x]) ** 2 / (ours[x] + theirs[x]) for x in letters)
        assert chi_squared < 2 * len(letters) + 12  # passed by chance alone in less than one of a thousand samples


def _counts(answers: list[Outcome], place: int) -> Counter[int]:
    return Counter(tokens[place] for one in answers for tokens in one.tokens.values())


def test_penalties_count_inside_a_verified_run(windowed: Engine) -> None:
    options: dict[str, Any] = {"frequency_penalty": 1.5, "presence_penalty": 0.5}
    plain = outcome(windowed, question(**options))
    assert plain.tokens != outcome(windowed, question()).tokens
    predicted = outcome(windowed, question(prediction=plain.pieces[0].decode(), **options))
    assert predicted.tokens == plain.tokens
    assert predicted.accepted_tokens > 80


@pytest.mark.parametrize("max_tokens", [1, 2, FIRST_RUN_TOKENS, 21, 63, 64, 65])
def test_the_limit_holds_inside_a_verified_run(windowed: Engine, max_tokens: int) -> None:
    text = outcome(windowed, question()).pieces[0].decode()
    cut = outcome(windowed, question(max_tokens=max_tokens, prediction=text))
    assert cut.pieces[0].decode() == text[:max_tokens]
    assert cut.ends == {0: "length"}


def test_an_answer_ends_where_it_ends_inside_a_verified_run(windowed: Engine) -> None:
    """The end-of-turn token, made likely by a bias, comes at the same place."""
    bias = (*ONLY_LETTERS, (0, 101))
    request = question(n=16, temperature=1.5, logit_bias=bias)
    plain = outcome(windowed, request)
    assert "end_of_turn" in plain.ends.values()
    longest = max(plain.pieces.values(), key=len).decode()
    predicted = outcome(windowed, msgspec.structs.replace(request, prediction=longest))
    assert (predicted.tokens, predicted.ends) == (plain.tokens, plain.ends)
    assert predicted.accepted_tokens


def test_forced_tokens_are_evaluated_together(either: Engine) -> None:
    held = msgspec.structs.replace(question(logit_bias=()), grammar=CALL)
    forced = outcome(either, held)
    text = forced.pieces[0].decode()
    assert text.startswith("the depth at the pier is ")
    assert text.endswith(".")
    assert len(forced.tokens[0]) == len(text)
    assert forced.n_steps < len(text) - 40


def test_likelihoods_are_read_at_their_own_places(either: Engine) -> None:
    held = msgspec.structs.replace(question(logit_bias=()), grammar=CALL)
    reported = outcome(
        either, msgspec.structs.replace(held, sampling=Sampling(temperature=0, seed=3, n_alternatives=2))
    )
    assert reported.tokens == outcome(either, held).tokens
    assert len(reported.logprobs) == len(reported.tokens[0])
    for place in range(0, len(reported.logprobs), 9):
        written = reported.pieces[0][:place].decode()
        segments = (PlainText("say something" + written),)
        token = reported.tokens[0][place]
        sampling = Sampling(temperature=0, seed=1, n_alternatives=0, logit_bias=((token, 100),))
        alone = outcome(either, Prompt(project="other", segments=segments, max_tokens=1, sampling=sampling))
        assert alone.tokens[0] == [token]
        assert reported.logprobs[place] == pytest.approx(alone.logprobs[0], abs=0.02)


def test_a_grammar_holds_inside_a_verified_run(windowed: Engine) -> None:
    held = msgspec.structs.replace(question(logit_bias=()), grammar=CALL)
    plain = outcome(windowed, held)
    right = plain.pieces[0].decode()
    for prediction in (right, right.replace("metres", "fathoms"), "the depth at the pier is unknown."):
        predicted = outcome(windowed, msgspec.structs.replace(held, prediction=prediction))
        assert predicted.tokens == plain.tokens
        assert predicted.ends == {0: "end_of_turn"}


def test_leaving_in_a_verified_run_frees_everything(windowed: Engine) -> None:
    text = outcome(windowed, question()).pieces[0].decode()
    for n_steps in range(4):
        windowed.submit(1, question(n=3, temperature=1.0, prediction=text))
        for _ in range(n_steps):
            windowed.step()
        windowed.stop(1, 0)
        windowed.step()
        windowed.cancel(1)
        windowed.step()
        windowed.take_events()
        assert not has_work(windowed)
        windowed._memory.check()


def test_a_place_is_found_again_only_where_enough_agrees() -> None:
    prediction = Prediction([1, 2, 3, 4, 5, 6, 1, 2, 3, 9])
    assert prediction.proposed(3) == [1, 2, 3]
    for token in (1, 2, 3, 7):
        prediction.follow(token)
    assert prediction.proposed(3) == []
    for token in (1, 2):
        prediction.follow(token)
        assert prediction.proposed(3) == []
    prediction.follow(3)
    assert prediction.proposed(3) == [9]  # the next place behind the one where it was left


def test_attempts_grow_with_success_and_get_rare_without() -> None:
    prediction = Prediction(list(range(500)))
    for length in (16, 32, 64, 64):
        run = prediction.proposed(LONGEST_RUN_TOKENS)
        assert len(run) == length
        for token in run:
            prediction.follow(token)
        prediction.judge(len(run), len(run))
    prediction.judge(64, 0)
    assert len(prediction.proposed(LONGEST_RUN_TOKENS)) < FIRST_RUN_TOKENS
    for token in (1000, 4, 5, 6):
        prediction.follow(token)
    assert prediction.proposed(1) == []  # three tokens are no longer enough
    assert (prediction.n_accepted, prediction.n_rejected) == (176, 64)
