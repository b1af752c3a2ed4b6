"""Cells that move between a context with flash attention and one without."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from completionist.engine.llama.capi import Native
from completionist.engine.llama.cells import first_cells, turn
from completionist.engine.llama.library import find_library
from completionist.engine.llama.loading import load
from completionist.engine.llama.model import Model
from completionist.engine.llama.runner import Context
from completionist.engine.llama.state import State
from tests.engine.asking import prompt
from tests.engine.test_memory import STORY, evaluated, order, run

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def contexts(short_model_path: Path) -> Iterator[tuple[Context, Context]]:
    """The same model with flash attention, which is chosen for short streams, and without."""
    model = Model(Native(find_library().path), short_model_path)
    short = Context(model, n_streams=3, stream_tokens=256, threads=1)
    long = Context(model, n_streams=1, stream_tokens=4096, threads=1)
    assert "flash" in short.arithmetic()
    assert "plain" in long.arithmetic()
    yield short, long
    for context in (short, long):
        context.close()


def filled(context: Context, n_tokens: int) -> State:
    """What a stream holds after so many tokens."""
    context.forget(0)
    context._batch.struct.n_tokens = context._batch.lay(0, list(range(100, 100 + n_tokens)), 0, 0)
    assert context.c.llama_decode(context.handle, context._batch.struct) == 0
    return context.save(0)


def content(state: State) -> bytes:
    return state.for_context(1).tobytes()


def test_cells_move_there_and_back_bit_for_bit(contexts: tuple[Context, Context]) -> None:
    short, long = contexts
    state = filled(short, 50)
    before = content(state)
    assert long.restore(0, state)
    moved = long.save(0)
    assert content(moved) != before
    assert short.restore(2, moved)
    assert content(short.save(2))[12:20] == before[12:20]
    assert short.restore(0, short.save(2))
    assert content(short.save(0)) == before


@pytest.mark.parametrize("which", ["flash", "plain"])
def test_the_first_cells_are_those_of_a_shorter_stream(contexts: tuple[Context, Context], which: str) -> None:
    context = contexts[which == "plain"]
    first = filled(context, 50).first(20)
    assert first is not None
    assert first.fits(20)
    assert not first.fits(19)
    assert context.restore(0, first)
    assert content(context.save(0)) == content(filled(context, 20))


def test_they_mean_the_same_there(contexts: tuple[Context, Context]) -> None:
    short, long = contexts
    own, moved = filled(long, 50), filled(short, 50)
    rows = []
    for state in (own, moved):
        assert long.restore(0, state)
        long._batch.struct.n_tokens = long._batch.lay(0, [200], 50, 0)
        long._batch._wants_logits[0] = 1
        assert long.c.llama_decode(long.handle, long._batch.struct) == 0
        rows.append(long._logits(1)[0].copy())
    assert np.abs(rows[0] - rows[1]).max() < 0.2
    assert rows[0].std() > 0.5


def test_a_record_of_another_kind_is_left_as_it_is(contexts: tuple[Context, Context]) -> None:
    record = np.frombuffer(content(filled(contexts[0], 5)), np.uint8)[12:].copy()
    whole = record.copy()
    assert turn(record)
    assert turn(record)
    assert (record == whole).all()
    for n_bytes in range(0, len(record), 997):
        part = record[:n_bytes].copy()
        assert not turn(part)
        assert first_cells(part, 2) is None
        assert (part == record[:n_bytes]).all()


def test_a_sequence_outgrows_its_flash_stream(short_model_path: Path, tmp_path: Path) -> None:
    changes: dict[str, object] = {"context_tokens": 2304, "flash_attention": "auto"}
    mixed, card = load(order(short_model_path, tmp_path, **changes))
    flash, flash_card = load(order(short_model_path, tmp_path, **changes | {"flash_attention": "on"}))
    assert [one.tokens for one in card.ranges] == [256, 2304]
    question = prompt(STORY * 10, max_tokens=80)
    answer = run(mixed, {1: question})[1]
    assert answer.accepted is not None
    n_there = 256 - answer.accepted.prompt_tokens
    assert 20 < n_there < 70
    assert len(answer.tokens[0]) == 80
    assert answer.tokens[0][:n_there] == run(flash, {1: question})[1].tokens[0][:n_there]
    follow_up = prompt(STORY * 10 + "Go on.", max_tokens=1)
    assert evaluated(run(mixed, {2: follow_up})[2]).cached_tokens >= 150
    mixed._memory.check()
    assert card.fingerprint != flash_card.fingerprint
