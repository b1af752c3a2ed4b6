"""Shapes of contexts from memory, model and wishes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from completionist.engine.llama.runner import ContextRefused, Footprint
from completionist.engine.llama.sizing import LONG_STREAMS, WIDE_STREAMS, WIDE_TOKENS, Shape, Wishes, shapes

GIB = 2**30
CELL = Footprint(stream_bytes=0, cell_bytes=24 * 1024)


def test_with_memory_to_spare_there_is_a_wide_and_a_long_context() -> None:
    assert shapes(64 * GIB, CELL, 8192, Wishes(), can_move=True) == [
        Shape(WIDE_STREAMS, WIDE_TOKENS),
        Shape(LONG_STREAMS, 8192),
    ]


def test_a_short_model_needs_no_long_context() -> None:
    assert shapes(64 * GIB, CELL, 1024, Wishes(), can_move=True) == [Shape(WIDE_STREAMS, 1024)]


def test_sequences_that_cannot_move_get_streams_of_full_length() -> None:
    (only,) = shapes(64 * GIB, CELL, 8192, Wishes(), can_move=False)
    assert only.tokens == 8192


def test_wishes_are_met_exactly() -> None:
    wishes = Wishes(streams=5, stream_tokens=512, context_tokens=4096, long_streams=2)
    assert shapes(64 * GIB, CELL, 8192, wishes, can_move=True) == [Shape(5, 512), Shape(2, 4096)]
    assert shapes(64 * GIB, CELL, 8192, Wishes(streams=4, context_tokens=512), can_move=True) == [Shape(4, 512)]
    assert shapes(64 * GIB, CELL, 8192, Wishes(context_tokens=4096, long_streams=0), can_move=True)[0].tokens == 4096


def test_wishes_beyond_memory_are_refused_with_the_figures() -> None:
    with pytest.raises(ContextRefused, match=r"GiB"):
        shapes(GIB, CELL, 8192, Wishes(streams=256, context_tokens=8192), can_move=True)


@given(
    stream_bytes=st.integers(0, 64 << 20),
    free_bytes=st.integers(GIB // 8, 256 * GIB),
    cell_bytes=st.integers(256, 512 * 1024),
    trained=st.integers(256, 1 << 20),
    can_move=st.booleans(),
)
def test_defaults_always_fit(stream_bytes: int, free_bytes: int, cell_bytes: int, trained: int, can_move: bool) -> None:
    footprint = Footprint(stream_bytes, cell_bytes)
    try:
        chosen = shapes(free_bytes, footprint, trained, Wishes(), can_move=can_move)
    except ContextRefused:
        assert free_bytes < 2 * footprint.of(1, 512)
        return
    assert sum(footprint.of(shape.n_streams, shape.tokens) for shape in chosen) <= free_bytes
    assert chosen[-1].tokens <= trained
    assert chosen[0].tokens <= chosen[-1].tokens
