"""Shapes of contexts from memory, model and wishes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from completionist.engine.llama.runner import ContextRefused, Footprint
from completionist.engine.llama.sizing import (
    LONG_STREAMS,
    SHORT_STREAMS,
    SHORT_TOKENS,
    WIDE_STREAMS,
    WIDE_TOKENS,
    Shape,
    Shapes,
    Wishes,
    shapes,
)

GIB = 2**30
CELL = Footprint(stream_bytes=0, cell_bytes=24 * 1024)


def test_with_memory_to_spare_there_are_a_wide_a_long_and_a_short_context() -> None:
    assert shapes(64 * GIB, CELL, 8192, Wishes(), can_move=True) == Shapes(
        Shape(WIDE_STREAMS, WIDE_TOKENS), Shape(LONG_STREAMS, 8192), Shape(SHORT_STREAMS, SHORT_TOKENS)
    )


def test_a_short_model_needs_no_long_context() -> None:
    chosen = shapes(64 * GIB, CELL, 1024, Wishes(), can_move=True)
    assert chosen == Shapes(Shape(WIDE_STREAMS, 1024), None, Shape(SHORT_STREAMS, SHORT_TOKENS))


def test_a_very_short_model_needs_no_short_context_either() -> None:
    assert shapes(64 * GIB, CELL, 512, Wishes(), can_move=True) == Shapes(Shape(WIDE_STREAMS, 512))


def test_large_cells_are_for_fewer_short_streams() -> None:
    large = Footprint(stream_bytes=0, cell_bytes=128 * 1024)
    assert shapes(64 * GIB, large, 8192, Wishes(), can_move=True).short == Shape(SHORT_STREAMS // 4, SHORT_TOKENS)


def test_sequences_that_cannot_move_get_streams_of_full_length() -> None:
    (only,) = shapes(64 * GIB, CELL, 8192, Wishes(), can_move=False).all
    assert only.tokens == 8192


def test_wishes_are_met_exactly() -> None:
    wishes = Wishes(streams=5, stream_tokens=512, context_tokens=4096, long_streams=2)
    assert shapes(64 * GIB, CELL, 8192, wishes, can_move=True) == Shapes(Shape(5, 512), Shape(2, 4096))
    assert shapes(64 * GIB, CELL, 8192, Wishes(streams=4, context_tokens=512), can_move=True) == Shapes(Shape(4, 512))
    assert shapes(64 * GIB, CELL, 8192, Wishes(context_tokens=4096, long_streams=0), can_move=True).wide.tokens == 4096
    wishes = Wishes(streams=4, short_streams=7)
    assert shapes(64 * GIB, CELL, 8192, wishes, can_move=True).short == Shape(7, SHORT_TOKENS)
    assert shapes(64 * GIB, CELL, 8192, Wishes(short_streams=0), can_move=True).short is None


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
    assert sum(footprint.of(shape.n_streams, shape.tokens) for shape in chosen.all) <= free_bytes
    assert max(shape.tokens for shape in chosen.all) <= trained
    assert chosen.long is None or chosen.wide.tokens < chosen.long.tokens
    assert chosen.short is None or chosen.short.tokens < chosen.wide.tokens
