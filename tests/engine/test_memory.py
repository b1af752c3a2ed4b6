"""Streams, moves and the prefix cache over the real model, in this process so that every step can be looked at."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from completionist.engine.base import Evaluated, ModelCard, PlainText, Prompt, Sampling
from completionist.engine.frames import LoadModel
from completionist.engine.llama.blocks import LEAST_ROWS
from completionist.engine.llama.library import find_library
from completionist.engine.llama.loading import load
from completionist.engine.llama.loop import Engine
from tests.engine.asking import Answer, has_work, prompt

pytestmark = pytest.mark.model

STORY = "Once upon a time there was a small robot who lived in a lighthouse by the sea. "
FRANCE = prompt("What is the capital of France?", max_tokens=20)


def order(model_path: Path, cache_dir: Path, **changes: object) -> LoadModel:
    library = find_library()
    fields: dict[str, object] = {
        "model_path": str(model_path),
        "name": "tiny",
        "library_path": str(library.path),
        "library_description": library.description,
        "cache_dir": str(cache_dir),
        "threads": 1,  # two that wait for each other are slow beside the other half of the tests
        "streams": 3,
        "stream_tokens": 256,
        "context_tokens": 512,
        "long_streams": 1,
        "short_streams": None,
        "kv_type": "f16",
        "flash_attention": "off",
        "cache_bytes": 64 << 20,
        "max_waiting": 100,
        "is_alone": True,
    }
    return LoadModel(**{**fields, **changes})  # type: ignore[arg-type]  # the fields' types are the struct's own


@pytest.fixture(scope="module")
def plain(model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Engine, ModelCard]]:
    """The whole model, for what depends on what it says."""
    engine, card = load(order(model_path, tmp_path_factory.mktemp("cache")))
    yield engine, card
    engine._memory.check()


@pytest.fixture(scope="module")
def short_cold(short_model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """Keeps nothing, and one stream is long enough for everything."""
    changes: dict[str, object] = {"cache_bytes": 0, "stream_tokens": 512}
    return load(order(short_model_path, tmp_path_factory.mktemp("cache"), **changes))[0]


@pytest.fixture
def short_warm(short_model_path: Path, tmp_path: Path) -> Iterator[Engine]:
    engine = load(order(short_model_path, tmp_path))[0]
    yield engine
    engine._memory.check()


def run(engine: Engine, prompts: dict[int, Prompt]) -> dict[int, Answer]:
    """All of them together, to the end."""
    answers = {request_id: Answer() for request_id in prompts}
    for request_id, one in prompts.items():
        engine.submit(request_id, one)
    while has_work(engine):
        if engine.must_wait:  # for a grammar, or a picture
            time.sleep(0.001)
            continue
        engine.step()
        for request_id, event in engine.take_events():
            answers[request_id].add(event)
    return answers


def run_with_a_wait(engine: Engine, prompts: dict[int, Prompt]) -> dict[int, Answer]:
    """Three of them to the end. The second waits for a pause of the others between these, where it cuts what takes one call
    into two, and changes places with one of them."""
    answers = {request_id: Answer() for request_id in prompts}
    wide, layouts = engine._memory.pools[0], [list[int]()]

    def step() -> None:
        engine.step()
        layouts.append([one.request.id for one in wide.holders()])
        for request_id, event in engine.take_events():
            answers[request_id].add(event)

    engine._pauses._n_steps = 0  # none is saved
    first, second, _ = prompts
    for request_id, one in prompts.items():
        engine.submit(request_id, one)
        while request_id not in layouts[-1] or not answers[first].tokens:
            step()
    assert layouts[-1][1] == second
    while answers[second].evaluated is None:
        step()
    assert layouts[-1][1] != second
    while has_work(engine):
        step()
    return answers


def evaluated(answer: Answer) -> Evaluated:
    assert answer.evaluated is not None
    return answer.evaluated


def test_a_sequence_that_outgrows_its_stream_moves_and_says_the_same(short_cold: Engine, short_warm: Engine) -> None:
    question = prompt(STORY * 11, max_tokens=70)
    stayed, moved = run(short_cold, {1: question})[1], run(short_warm, {1: question})[1]
    assert moved.accepted is not None
    assert moved.accepted.prompt_tokens < 256 < moved.accepted.prompt_tokens + len(moved.tokens[0])
    assert moved.tokens == stayed.tokens
    assert moved.ends == stayed.ends


def test_more_sequences_may_outgrow_their_streams_than_there_are_long_ones(short_warm: Engine) -> None:
    answers = run(short_warm, {i: prompt(f"{i} " + STORY * 12, max_tokens=40, temperature=1.5) for i in range(4)})
    assert all(answer.ends for answer in answers.values())
    assert all(answer.fault is None for answer in answers.values())


def test_those_that_generate_are_brought_together(short_cold: Engine, short_warm: Engine) -> None:
    long = prompt("2 " + STORY * 11)
    questions = {1: prompt("1 " + STORY, max_tokens=60), 2: long, 3: prompt("3 " + STORY, max_tokens=60)}
    answers = run_with_a_wait(short_warm, questions)
    for i, question in questions.items():
        assert answers[i].tokens == run(short_cold, {i: question})[i].tokens


def test_a_prompt_that_comes_again_is_not_computed_again(short_cold: Engine, short_warm: Engine) -> None:
    question = prompt(STORY * 8)
    first, second = run(short_warm, {1: question})[1], run(short_warm, {2: question})[2]
    assert second.accepted is not None
    n_prompt = second.accepted.prompt_tokens
    assert evaluated(first).cached_tokens == 0
    block_rows = short_warm._memory._block_rows
    assert evaluated(second).cached_tokens == (n_prompt - max(LEAST_ROWS, block_rows)) // block_rows * block_rows
    assert evaluated(second).cached_tokens + evaluated(second).cache_write_tokens == n_prompt
    assert first.tokens == second.tokens == run(short_cold, {1: question})[1].tokens


@pytest.mark.parametrize("block_rows", [4, 8])
def test_a_prompt_beside_others_is_continued_anywhere(short_warm: Engine, block_rows: int) -> None:
    """Alone it is continued at a block's beginning, so that it is answered as a cold one. In calls with others' rows that
    would be of no use."""
    short_warm._memory._block_rows = block_rows
    question, other = prompt(STORY * 8), prompt("1 " + STORY, max_tokens=4)
    run(short_warm, {1: question})
    alone = run(short_warm, {2: question})[2]
    beside = run(short_warm, {3: other, 4: question})[4]
    assert alone.accepted is not None
    n_prompt = alone.accepted.prompt_tokens
    assert evaluated(alone).cached_tokens == (n_prompt - block_rows) // block_rows * block_rows
    assert evaluated(beside).cached_tokens == n_prompt - LEAST_ROWS


def test_an_answer_is_part_of_what_the_next_turn_finds(plain: tuple[Engine, ModelCard]) -> None:
    """Of an answer in words: what the short model says may be cut into other tokens when it comes back as text."""
    engine, _ = plain
    first = prompt(STORY * 4, max_tokens=16)
    answer = run(engine, {1: first})[1]
    text = answer.pieces[0].decode()
    following = Prompt(
        project="default",
        segments=(*first.segments, PlainText(text), PlainText(" " + STORY * 3)),
        max_tokens=4,
        sampling=Sampling(temperature=0, seed=1),
    )
    again = run(engine, {2: following})[2]
    assert answer.accepted is not None
    assert evaluated(again).cached_tokens >= answer.accepted.prompt_tokens + 8


def test_projects_share_nothing(short_warm: Engine) -> None:
    run(short_warm, {1: prompt(STORY * 8, project="mine")})
    other = run(short_warm, {2: prompt(STORY * 8, project="theirs")})[2]
    assert evaluated(other).cached_tokens == 0


def test_requests_that_share_a_cold_start_compute_it_once(short_warm: Engine) -> None:
    before = short_warm.stats().prompt_tokens_total
    answers = run(short_warm, {i: prompt(STORY * 9 + f"What is {i}?", max_tokens=3) for i in range(6)})
    sizes = [answer.accepted.prompt_tokens for answer in answers.values() if answer.accepted]
    n_evaluated = short_warm.stats().prompt_tokens_total - before
    assert n_evaluated == sum(sizes) - sum(evaluated(answer).cached_tokens for answer in answers.values())
    assert n_evaluated <= max(sizes) + 5 * 64


def test_what_left_its_stream_is_found_in_host_memory(short_cold: Engine, short_warm: Engine) -> None:
    questions = {i: prompt(f"{i}. " + STORY * 6) for i in range(8)}
    firsts = run(short_warm, questions)
    assert 0 < short_warm.stats().cache_bytes <= 64 << 20
    agains = run(short_warm, questions)
    assert sum(evaluated(answer).cached_tokens > 50 for answer in agains.values()) >= 4
    plain = run(short_cold, questions)
    for i in questions:
        assert firsts[i].tokens == plain[i].tokens
        assert agains[i].tokens == plain[i].tokens


def test_without_a_budget_nothing_is_kept(short_cold: Engine) -> None:
    for _ in range(2):
        answer = run(short_cold, {1: prompt(STORY * 5)})[1]
        found = evaluated(answer)
        assert (found.cached_tokens, found.cache_write_tokens) == (0, 0)
        assert found.prefill_s > 0
    assert short_cold.stats().cache_bytes == 0


def test_flash_attention_answers_the_same_by_another_way(
    plain: tuple[Engine, ModelCard], model_path: Path, tmp_path: Path
) -> None:
    engine, card = plain
    flash, flash_card = load(order(model_path, tmp_path, flash_attention="on"))
    first, again = run(flash, {1: FRANCE})[1], run(flash, {2: FRANCE})[2]
    assert first.pieces[0] == b"The capital of France is Paris."
    assert first.ends == again.ends == run(engine, {1: FRANCE})[1].ends
    assert evaluated(again).cached_tokens > 0
    assert flash_card.fingerprint != card.fingerprint


@pytest.mark.parametrize("kv_type", ["q8_0", "q4_0"])
def test_cells_can_be_quantised(
    plain: tuple[Engine, ModelCard], kv_type: str, model_path: Path, tmp_path: Path
) -> None:
    engine, card = plain
    small, small_card = load(order(model_path, tmp_path, kv_type=kv_type))
    assert b"Paris" in run(small, {1: FRANCE})[1].pieces[0]
    assert small_card.kv_bytes < card.kv_bytes * 0.6
    assert run(engine, {1: FRANCE})[1].ends == {0: "end_of_turn"}
