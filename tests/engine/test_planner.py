"""Plans as pure functions of sequences."""

from __future__ import annotations

from completionist.engine.base import Sampling
from completionist.engine.llama.planner import CHUNK_BESIDE_DECODES_TOKENS, plan
from completionist.engine.llama.sequence import Request, Sequence
from completionist.engine.llama.streams import Streams


def sequence(request_id: int, *, n_prompt: int, n_cells: int) -> Sequence:
    """A sequence whose prompt has `n_prompt` tokens, `n_cells` of them in memory; with one drawn where all are."""
    request = Request(
        id=request_id,
        project="default",
        tokens=list(range(n_prompt)),
        sampling=Sampling(seed=1),
        max_tokens=None,
        choices_waiting=[0],
    )
    started = request.start()
    started.n_cells = n_cells
    if n_cells == n_prompt:
        started.tokens.append(0)
    return started


def shapes(holders: list[Sequence], max_call_tokens: int = 512) -> list[list[tuple[int, int]]]:
    return [[(span.sequence.request.id, span.n_tokens) for span in call] for call in plan(holders, max_call_tokens)]


def test_decodes_share_one_call_in_the_order_given() -> None:
    assert shapes([sequence(i, n_prompt=5, n_cells=5) for i in (3, 1, 2)]) == [[(3, 1), (1, 1), (2, 1)]]


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
    (call,) = plan([sequence(1, n_prompt=600, n_cells=0)], 512)
    assert not call[0].reaches_end
    (call,) = plan([sequence(1, n_prompt=600, n_cells=512)], 512)
    assert call[0].reaches_end


def test_nothing_to_do_is_no_call() -> None:
    assert plan([], 512) == []


def test_streams_are_dense_and_lowest_first() -> None:
    streams = Streams(3)
    held = [sequence(i, n_prompt=2, n_cells=2) for i in range(3)]
    assert [streams.take(one) for one in held] == [0, 1, 2]
    assert streams.n_free == 0
    streams.release(held[1])
    newcomer = sequence(9, n_prompt=2, n_cells=2)
    assert streams.take(newcomer) == 1
    assert [one.request.id for one in streams.holders()] == [0, 9, 2]
