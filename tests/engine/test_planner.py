"""Plans as pure functions of sequences."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from completionist.engine.llama.planner import CHUNK_BESIDE_DECODES_TOKENS, DEFAULT_COSTS, Costs, classes, plan
from completionist.engine.llama.sequence import Sequence
from tests.engine.asking import request


def sequence(request_id: int, *, n_prompt: int, n_cells: int) -> Sequence:
    """A sequence whose prompt has `n_prompt` tokens, `n_cells` of them in memory; with one drawn where all are."""
    started = request(request_id, tokens=list(range(n_prompt))).start()
    started.n_cells = n_cells
    if n_cells == n_prompt:
        started.tokens.append(0)
    return started


def shapes(*pools: list[Sequence], max_call_tokens: int = 512) -> list[list[tuple[int, int]]]:
    calls = plan(pools, DEFAULT_COSTS, max_call_tokens)
    return [[(span.sequence.request.id, span.n_tokens) for span in call] for call in calls]


def test_decodes_share_one_call_in_the_order_given() -> None:
    assert shapes(on_streams([5, 5, 5])) == [[(0, 1), (1, 1), (2, 1)]]


def test_a_prompt_alone_is_computed_in_calls_of_full_size() -> None:
    assert shapes([sequence(1, n_prompt=1300, n_cells=0)]) == [[(1, 512)]]
    assert shapes([sequence(1, n_prompt=1300, n_cells=1024)]) == [[(1, 276)]]


def test_a_prompt_beside_decodes_is_cut_into_chunks() -> None:
    holders = [sequence(1, n_prompt=5, n_cells=5), sequence(2, n_prompt=1300, n_cells=0)]
    assert shapes(holders) == [[(1, 1)], [(2, CHUNK_BESIDE_DECODES_TOKENS)]]


def test_the_budget_goes_to_the_oldest_prompt_first() -> None:
    holders = [sequence(9, n_prompt=400, n_cells=0), sequence(4, n_prompt=300, n_cells=0)]
    assert shapes(holders) == [[(4, 300)], [(9, 212)]]


def test_only_the_span_that_reaches_the_end_wants_logits() -> None:
    (call,) = plan([[sequence(1, n_prompt=600, n_cells=0)]], DEFAULT_COSTS, 512)
    assert call[0].n_rows == 0
    (call,) = plan([[sequence(1, n_prompt=600, n_cells=512)]], DEFAULT_COSTS, 512)
    assert call[0].n_rows == 1


def test_nothing_to_do_is_no_call() -> None:
    assert shapes([]) == []


def test_contexts_have_calls_of_their_own() -> None:
    assert shapes(on_streams([5, 5]), on_streams([3000])) == [[(0, 1), (1, 1)], [(0, 1)]]


def test_a_long_row_does_not_slow_the_short_ones() -> None:
    assert shapes(on_streams([100] * 15 + [2000])) == [[(i, 1) for i in range(15)], [(15, 1)]]


def test_rows_of_like_length_stay_together() -> None:
    assert len(shapes(on_streams([300, 400, 310, 390, 500]))) == 1


@given(
    lengths=st.lists(st.integers(1, 4000), min_size=1, max_size=9),
    gaps=st.lists(st.booleans(), min_size=9, max_size=9),
    call_ms=st.floats(0.1, 50),
)
def test_the_cut_is_the_cheapest_of_all(lengths: list[int], gaps: list[bool], call_ms: float) -> None:
    costs = Costs(call_ms=call_ms, cell_ms=0.0035)
    streams = [i + sum(gaps[:i]) for i in range(len(lengths))]
    decoding = on_streams(lengths, streams)
    intervals = classes(decoding, costs)
    assert [one for interval in intervals for one in interval] == decoding
    every_cut = (
        [decoding[i:j] for i, j in itertools.pairwise((0, *cuts, len(decoding)))]
        for n in range(len(decoding))
        for cuts in itertools.combinations(range(1, len(decoding)), n)
    )
    cheapest = min(price(cut, costs) for cut in every_cut if all(map(is_consecutive, cut)))
    assert all(map(is_consecutive, intervals))
    assert price(intervals, costs) == pytest.approx(cheapest)


def is_consecutive(interval: list[Sequence]) -> bool:
    return interval[-1].stream - interval[0].stream == len(interval) - 1


def price(intervals: list[list[Sequence]], costs: Costs) -> float:
    return sum(
        costs.call_ms
        + costs.cell_ms * len(interval) * max(math.ceil((one.n_cells + 1) / 256) * 256 for one in interval)
        for interval in intervals
    )


def on_streams(lengths: list[int], streams: list[int] | None = None) -> list[Sequence]:
    """Generating sequences with so many cells, on streams 0, 1, 2 … or on those given."""
    decoding = [sequence(i, n_prompt=length, n_cells=length) for i, length in enumerate(lengths)]
    for i, one in enumerate(decoding):
        one.stream = streams[i] if streams else i
    return decoding
