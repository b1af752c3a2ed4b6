"""Plans as pure functions of sequences."""

from __future__ import annotations

import itertools
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from completionist.engine.llama.calls import Call, Span, cut
from completionist.engine.llama.costs import DEFAULT_COSTS, Costs
from completionist.engine.llama.planner import (
    MANY_DECODES,
    MAX_PROMPT_SHARE,
    MIN_CHUNK_TOKENS,
    PAUSE_MS,
    PROMPT_SHARE,
    RUN_BESIDE_DECODES_TOKENS,
    SAVED_PAUSES,
    SHORT_ROWS,
    STEPS_FOR_A_PAUSE,
    Pauses,
    plan,
)
from completionist.engine.llama.sequence import Sequence
from tests.engine.asking import request


def sequence(request_id: int, *, n_prompt: int, n_cells: int, key: str = "") -> Sequence:
    """A sequence whose prompt has `n_prompt` tokens, `n_cells` of them in memory; with one drawn where all are."""
    started = request(request_id, tokens=list(range(n_prompt)), key=key).start()
    started.n_cells = n_cells
    if n_cells == n_prompt:
        started.tokens.append(0)
    return started


def shapes(*pools: list[Sequence], max_call_tokens: int = 512) -> list[list[tuple[int, int]]]:
    for pool in pools:
        for stream, one in enumerate(pool):
            one.stream = stream if one.stream < 0 else one.stream
    calls = plan(pools, DEFAULT_COSTS, max_call_tokens, Pauses())
    return [[(span.sequence.request.id, span.n_tokens) for span in call] for call in calls]


def test_decodes_share_one_call_in_the_order_given() -> None:
    assert shapes(on_streams([5, 5, 5])) == [[(0, 1), (1, 1), (2, 1)]]


def test_a_prompt_alone_is_computed_in_calls_of_full_size() -> None:
    assert shapes([sequence(1, n_prompt=1300, n_cells=0)]) == [[(1, 512)]]
    assert shapes([sequence(1, n_prompt=1300, n_cells=1024)]) == [[(1, 276)]]


def test_a_prompt_beside_decodes_lengthens_the_step_by_its_share() -> None:
    decoding = on_streams([200] * 15)
    for n_cells in (0, 1000, 2000, 3900):
        step_ms, decodes_ms = price_of_step([*decoding, sequence(15, n_prompt=4000, n_cells=n_cells)])
        planned_ms = decodes_ms * (1 + PROMPT_SHARE)
        assert planned_ms * 0.8 < step_ms < planned_ms * 1.35  # over it where the smallest chunk is too long


@pytest.mark.parametrize("decode_factor", [0.5, 1.5, 2.5])
def test_the_share_is_of_what_decodes_really_take(decode_factor: float) -> None:
    holders = [*on_streams([200] * 15), sequence(15, n_prompt=4000, n_cells=0)]
    costs = msgspec.structs.replace(DEFAULT_COSTS, decode_factor=decode_factor)
    step_ms, decodes_ms = price_of_step(holders, costs)
    planned_ms = decodes_ms * decode_factor * PROMPT_SHARE
    assert planned_ms * 0.8 < step_ms - decodes_ms < planned_ms * 1.05


def steps(n_decoding: int, n_steps: int, *, n_prompt: int = 100_000, costs: Costs = DEFAULT_COSTS) -> list[int]:
    """The chunk of each step that a long prompt has beside short answers, 0 for none."""
    pauses, holders = Pauses(), [*on_streams([200] * n_decoding), sequence(99, n_prompt=n_prompt, n_cells=0)]
    chunks = []
    for _ in range(n_steps):
        calls = plan([holders], costs, 512, pauses)
        chunks.append(sum(span.n_tokens for call in calls for span in call if span.sequence is holders[-1]))
    return chunks


@pytest.mark.parametrize("n_decoding", [1, 4, 8])
def test_beside_a_few_decodes_a_long_prompt_waits_for_pauses(n_decoding: int) -> None:
    chunks = steps(n_decoding, 200)
    paused = [i for i, n_tokens in enumerate(chunks) if n_tokens]
    assert paused[:SAVED_PAUSES] == [0, 1, 2]
    between = [later - earlier for earlier, later in itertools.pairwise(paused[SAVED_PAUSES:])]
    assert set(between) == {STEPS_FOR_A_PAUSE}
    pause_rows = PAUSE_MS / DEFAULT_COSTS.row_ms
    assert {pause_rows * 0.8 < chunks[i] <= pause_rows for i in paused} == {True}


def test_in_its_pauses_a_prompt_gets_as_long_as_all_decodes_take() -> None:
    for n_decoding in range(1, 12):
        chunks = steps(n_decoding, 4 * STEPS_FOR_A_PAUSE)[STEPS_FOR_A_PAUSE:]
        decodes_ms = DEFAULT_COSTS.of(n_decoding, 256)
        prompt_ms = sum(DEFAULT_COSTS.of(n_tokens, 512) for n_tokens in chunks if n_tokens)
        assert prompt_ms > len(chunks) * decodes_ms


def test_beside_many_decodes_every_step_has_a_chunk() -> None:
    assert 0 in steps(MANY_DECODES - 1, 100)
    assert 0 not in steps(MANY_DECODES, 100)


def test_beside_slow_decodes_too() -> None:
    """Of a model of some billion weights: two seconds each 24 tokens would leave the prompt a fifth of the time."""
    slow = Costs(call_ms=200, row_ms=80, cell_ms=0.02)
    assert 0 not in steps(2, 100, costs=slow)
    shown = msgspec.structs.replace(DEFAULT_COSTS, chunk_factor=20)
    assert 0 not in steps(2, 100, costs=shown)


def test_a_pause_is_two_seconds_however_long_costs_are() -> None:
    costs = msgspec.structs.replace(DEFAULT_COSTS, chunk_factor=2)
    n_tokens = max(steps(4, 100, costs=costs))
    assert 0.8 * PAUSE_MS < 2 * costs.of(n_tokens, 256) <= PAUSE_MS


def test_pauses_are_earned_by_steps_and_few_are_saved() -> None:
    pauses = Pauses()
    for _ in range(10 * STEPS_FOR_A_PAUSE):
        pauses.count_step()
    assert [pauses.take() for _ in range(SAVED_PAUSES + 1)] == [True] * SAVED_PAUSES + [False]
    for _ in range(STEPS_FOR_A_PAUSE - 1):
        pauses.count_step()
    assert not pauses.take()
    pauses.count_step()
    assert pauses.take()


def test_a_short_prompt_waits_for_no_pause_and_takes_none() -> None:
    for n_decoding in (1, 2, 4, 8):
        n_short = SHORT_ROWS // n_decoding * 8 // 10
        assert steps(n_decoding, 200, n_prompt=n_short) == [n_short] * 200


def test_while_a_long_prompt_waits_short_ones_go_on() -> None:
    pauses, decoding = Pauses(), on_streams([200] * 4)
    long, short = sequence(8, n_prompt=1300, n_cells=0), sequence(9, n_prompt=20, n_cells=0)
    while pauses.take():
        pass
    calls = plan([[*decoding, long, short]], DEFAULT_COSTS, 512, pauses)
    assert [span.sequence.request.id for call in calls[:-1] for span in call] == [9]


def test_a_chunk_is_as_long_as_makes_it_fast_where_that_is_near(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sequence, "fast_rows", 64)

    def chunk(n_decoding: int, n_prompt: int, n_cells: int) -> int:
        calls = shapes([*on_streams([200] * n_decoding), sequence(99, n_prompt=n_prompt, n_cells=n_cells)])
        return calls[0][0][1]

    assert chunk(36, 1300, 500) == chunk(40, 1300, 500) == 64
    assert chunk(36, 1300, 0) < 64
    assert chunk(15, 1300, 500) < 24
    assert chunk(36, 560, 500) < 60
    assert chunk(100, 1300, 500) > 64


def test_many_prompts_lengthen_a_step_more_but_within_bounds() -> None:
    decoding = on_streams([200] * 15)

    def step_ms(key: str) -> float:
        prompts = [sequence(20 + i, n_prompt=20, n_cells=0, key=key) for i in range(40)]
        return price_of_step([*decoding, *prompts])[0]

    _, decodes_ms = price_of_step(decoding)
    assert decodes_ms * MAX_PROMPT_SHARE * 0.9 < step_ms("other") < decodes_ms * (1 + MAX_PROMPT_SHARE) * 1.05
    assert step_ms("") > DEFAULT_COSTS.of(512, 0)  # its own decodes wait for nobody else's prompts


def test_a_short_prompt_does_not_queue_behind_a_long_one_which_does_not_starve() -> None:
    holders = [sequence(4, n_prompt=4000, n_cells=0), sequence(7, n_prompt=90, n_cells=0)]
    assert shapes(holders) == [[(4, 422)], [(7, 90)]]
    crowd = [sequence(9 + i, n_prompt=100, n_cells=0) for i in range(7)]
    assert shapes([*holders, *crowd])[0] == [(4, 512 // 9)]
    crowd = [sequence(9 + i, n_prompt=110, n_cells=0) for i in range(7)]
    assert shapes([*holders, *crowd])[0] == [(4, 92)]  # more than its ninth: less than half of another one would fit


def test_the_prompt_of_who_has_fewest_streams_goes_before_those_of_who_has_many() -> None:
    """A key that floods has older requests than any other, always, and shorter ones perhaps."""
    flood = [sequence(20 + i, n_prompt=60, n_cells=0) for i in range(8)]
    other = sequence(90, n_prompt=90, n_cells=0, key="other")
    assert shapes([*on_streams([200] * 14), *flood, other])[:-1] == [[(20, 8)], [(90, 72)]]


def test_prompts_that_are_nearest_to_their_end_come_first_and_the_oldest_is_sure_of_a_share() -> None:
    prompts = [sequence(20 + i, n_prompt=100, n_cells=n_cells) for i, n_cells in enumerate([0, 10, 60, 30])]
    chunks = shapes([*on_streams([200] * 15), *prompts])[:-1]
    assert [span for call in chunks for span in call] == [(20, 16), (21, 12), (22, 40)]


def test_runs_share_a_budget_and_one_that_would_be_cut_waits() -> None:
    decoding = on_streams([50] * 4)
    for one, n_certain in zip(decoding, (20, 14, 9, 3), strict=True):
        one.tokens += [0] * n_certain
    assert shapes(decoding) == [[(0, 21)], [(1, 1), (2, 10), (3, 1)]]
    decoding[0].tokens += [0] * 100
    assert shapes(decoding) == [[(0, RUN_BESIDE_DECODES_TOKENS + 1)], [(1, 1), (2, 1), (3, 1)]]


def test_guesses_may_be_cut() -> None:
    decoding = on_streams([50] * 2)
    decoding[0].tokens += [0] * 20
    decoding[1].guess = [0] * 40
    assert shapes(decoding) == [[(0, 21)], [(1, RUN_BESIDE_DECODES_TOKENS - 19)]]


def test_a_prompt_beside_runs_may_take_its_share_of_what_they_take() -> None:
    decoding = on_streams([200] * 15)
    prompt = sequence(15, n_prompt=400, n_cells=0)
    short, _ = price_of_step([*decoding, prompt])
    decoding[0].tokens += [0] * 30
    step_ms, decodes_ms = price_of_step([*decoding, prompt])
    assert decodes_ms * (1 + PROMPT_SHARE) * 0.8 < step_ms < decodes_ms * (1 + PROMPT_SHARE) * 1.05
    assert step_ms > 2 * short


@given(
    n_decoding=st.integers(0, 20),
    prompts=st.lists(st.tuples(st.integers(2, 4000), st.floats(0, 0.99)), max_size=20),
    costs=st.builds(Costs, call_ms=st.floats(0.1, 50), row_ms=st.floats(0.01, 50), cell_ms=st.floats(1e-5, 0.1)),
)
def test_every_step_gets_everyone_or_the_first_prompt_ahead(
    n_decoding: int, prompts: list[tuple[int, float]], costs: Costs
) -> None:
    decoding = on_streams([50] * n_decoding)
    prefilling = [
        sequence(100 + i, n_prompt=n_prompt, n_cells=min(n_prompt - 2, int(n_prompt * share)))
        for i, (n_prompt, share) in enumerate(prompts)
    ]
    for stream, one in enumerate(holders := decoding + prefilling):
        one.stream = stream
    step = [span for call in plan([holders], costs, 512, Pauses()) for span in call]
    assert {span.sequence for span in step} >= set(decoding)
    spans = [span for span in step if not span.sequence.is_decoding]
    assert all(0 < span.n_tokens <= span.sequence.n_pending for span in spans)
    assert sum(span.n_tokens for span in spans) <= 512
    assert len({span.sequence.request.id for span in spans}) == len(spans)
    sure = {span.sequence.request.id: span.n_tokens for span in spans}
    assert all(sure[first.request.id] >= min(first.n_pending, MIN_CHUNK_TOKENS // 2) for first in prefilling[:1])


def price_of_step(holders: list[Sequence], costs: Costs = DEFAULT_COSTS) -> tuple[float, float]:
    """What a step costs by the default costs, and its decodes alone."""
    decodes_ms = step_ms = 0.0
    for call in plan([holders], costs, 512, Pauses()):
        n_rows = sum(span.n_tokens for span in call)
        n_cells = max(span.sequence.n_cells + span.n_tokens for span in call)
        call_ms = DEFAULT_COSTS.of(n_rows, math.ceil(n_cells / 256) * 256)
        step_ms += call_ms
        decodes_ms += call_ms if call[0].sequence.is_decoding else 0
    return step_ms, decodes_ms


def test_only_the_span_that_reaches_the_end_wants_logits() -> None:
    (call,) = plan([[sequence(1, n_prompt=600, n_cells=0)]], DEFAULT_COSTS, 512, Pauses())
    assert call[0].n_rows == 0
    (call,) = plan([[sequence(1, n_prompt=600, n_cells=512)]], DEFAULT_COSTS, 512, Pauses())
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
    spans=st.lists(st.tuples(st.integers(1, 4000), st.sampled_from([1, 1, 1, 5, 6, 33])), min_size=1, max_size=8),
    gaps=st.lists(st.booleans(), min_size=8, max_size=8),
    call_ms=st.floats(0.1, 50),
)
def test_the_cut_is_the_cheapest_of_all(spans: list[tuple[int, int]], gaps: list[bool], call_ms: float) -> None:
    costs = Costs(call_ms=call_ms, row_ms=6.0, cell_ms=0.0035)
    streams = [i + sum(gaps[:i]) for i in range(len(spans))]
    sequences = on_streams([n_cells for n_cells, _ in spans], streams)
    step = [Span(one, n_tokens) for one, (_, n_tokens) in zip(sequences, spans, strict=True)]
    calls = cut(step, costs, 64)
    assert [span for call in calls for span in call] == step
    every_cut = (
        [step[i:j] for i, j in itertools.pairwise((0, *cuts, len(step)))]
        for n in range(len(step))
        for cuts in itertools.combinations(range(1, len(step)), n)
    )
    assert all(map(is_possible, calls))
    assert price(calls, costs) == pytest.approx(
        min(price(one, costs) for one in every_cut if all(map(is_possible, one)))
    )


def is_possible(call: Call) -> bool:
    return call[-1].sequence.stream - call[0].sequence.stream == len(call) - 1 and (
        len(call) == 1 or sum(span.n_tokens for span in call) <= 64
    )


def price(calls: list[Call], costs: Costs) -> float:
    """Rows left out. Pieces are counted as the library makes them; rows behind the first piece pay for the longest chunk."""
    price_ms = 0.0
    for call in calls:
        price_ms += costs.call_ms * n_pieces([span.n_tokens for span in call])
        contexts = [math.ceil((span.sequence.n_cells + span.n_tokens) / 256) * 256 for span in call]
        chunks = [length for length, span in zip(contexts, call, strict=True) if span.n_tokens > 1]
        n_rows = sum(span.n_tokens for span in call)
        n_first = len(call) if min(span.n_tokens for span in call) == 1 else n_rows
        price_ms += costs.cell_ms * (n_first * max(contexts) + (n_rows - n_first) * max(chunks, default=0))
    return price_ms


def n_pieces(heights: list[int]) -> int:
    """As often as rows can be taken from a run of streams that have some left, equally many of each."""
    if not heights:
        return 0
    lowest = min(heights)
    rests = itertools.groupby((height - lowest for height in heights), key=bool)
    return 1 + sum(n_pieces(list(run)) for has_rows, run in rests if has_rows)


def test_a_prompt_between_decodes_leaves_no_hole() -> None:
    decoding = on_streams([200] * 16)
    decoding[7] = sequence(7, n_prompt=12, n_cells=0)
    assert shapes(decoding) == [[(i, 12 if i == 7 else 1) for i in range(16)]]


def test_neighbours_whose_prompts_are_equally_long_share_a_call() -> None:
    prompts = [sequence(i, n_prompt=40, n_cells=7) for i in range(8)]
    assert shapes(prompts) == [[(i, 33) for i in range(8)]]


def test_a_prompt_behind_the_decodes_has_a_call_of_its_own() -> None:
    """It is evaluated as it would be alone."""
    prompt = sequence(3, n_prompt=33, n_cells=0)
    assert shapes([*on_streams([200] * 3), prompt]) == [[(3, 33)], [(0, 1), (1, 1), (2, 1)]]


def test_a_prompt_that_a_step_has_room_for_is_cut_only_for_half_of_it_or_more() -> None:
    prompts = [sequence(20 + i, n_prompt=240, n_cells=0) for i in range(4)]
    assert shapes(prompts) == [[(20, 240), (21, 240)]]
    prompts = [sequence(20 + i, n_prompt=200, n_cells=0) for i in range(4)]
    assert shapes(prompts) == [[(20, 200), (21, 200)], [(22, 112)]]


def test_what_is_nearly_whole_comes_whole() -> None:
    def chunks(n_prompt: int) -> list[list[tuple[int, int]]]:
        return shapes([*on_streams([200] * 15), *(sequence(20 + i, n_prompt=n_prompt, n_cells=0) for i in range(2))])[
            :-1
        ]

    assert chunks(20) == [[(20, 20)], [(21, 12)]]
    assert chunks(18) == [[(20, 18), (21, 18)]]


def test_the_oldest_prompt_comes_whole_if_that_is_half_of_a_step() -> None:
    prompts = [sequence(20 + i, n_prompt=30, n_cells=0) for i in range(12)]
    prompts[7].request.started_s = -1.0
    spans = [span for call in shapes([*on_streams([200] * 15), *prompts]) for span in call]
    assert (27, 30) in spans
    other = sequence(90, n_prompt=300, n_cells=0, key="other")  # its key has fewer streams, so it goes first
    spans = [span for call in shapes([*on_streams([200] * 15), *prompts, other]) for span in call]
    assert next(n for i, n in spans if i == 27) < 30


def test_behind_many_cells_a_chunk_may_be_smaller() -> None:
    chunks = shapes([*on_streams([100] * 15), sequence(99, n_prompt=4000, n_cells=3800)])
    assert MIN_CHUNK_TOKENS // 2 <= chunks[0][0][1] < MIN_CHUNK_TOKENS


def on_streams(lengths: list[int], streams: list[int] | None = None) -> list[Sequence]:
    """Generating sequences with so many cells, on streams 0, 1, 2 … or on those given."""
    decoding = [sequence(i, n_prompt=length, n_cells=length) for i, length in enumerate(lengths)]
    for i, one in enumerate(decoding):
        one.stream = streams[i] if streams else i
    return decoding
