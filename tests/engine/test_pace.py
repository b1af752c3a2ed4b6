"""What chunks take in fact, and decodes compared with them: which calls tell it, and what the engine learns of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from completionist.engine.base import Evaluated, Token
from completionist.engine.llama import pace as pace_module
from completionist.engine.llama.calls import Call, Span
from completionist.engine.llama.costs import DEFAULT_COSTS
from completionist.engine.llama.loading import load
from completionist.engine.llama.pace import Pace, planned
from completionist.engine.llama.runner import DecodeFailed
from tests.engine.asking import has_work, prompt
from tests.engine.test_memory import order
from tests.engine.test_planner import on_streams, sequence

Watch = Callable[[Call, float], None]


class Clock:
    """Time passes where a test says so."""

    now_s = 0.0

    def perf_counter(self) -> float:
        return self.now_s


@pytest.fixture
def pace() -> Pace:
    return Pace(DEFAULT_COSTS)


@pytest.fixture
def watch(pace: Pace, monkeypatch: pytest.MonkeyPatch) -> Watch:
    """Watch a call that takes so many times what it costs."""
    clock = Clock()
    monkeypatch.setattr(pace_module, "time", clock)

    def watch_call(call: Call, factor: float) -> None:
        with pace.watch(call):
            clock.now_s += factor * planned(call, DEFAULT_COSTS) / 1000

    return watch_call


def decodes(n: int = 15) -> Call:
    return [Span(one, 1) for one in on_streams([200] * n)]


def chunk(n_tokens: int = 20) -> Call:
    return [Span(sequence(99, n_prompt=4000, n_cells=1000), n_tokens)]


def test_steps_with_both_tell_how_much_longer_decodes_take(pace: Pace, watch: Watch) -> None:
    assert pace.costs.decode_factor == 1.0
    factors = []
    for _ in range(100):
        watch(chunk(), 1.2)
        watch(decodes(), 1.8)
        pace.end_step()
        factors.append(pace.costs.decode_factor)
    assert factors == sorted(factors)
    assert factors[0] < 1.1
    assert factors[-1] == pytest.approx(1.5, abs=0.01)
    assert pace.costs.row_ms == DEFAULT_COSTS.row_ms


def test_several_calls_of_a_kind_count_together(pace: Pace, watch: Watch) -> None:
    for _ in range(100):
        for n, factor in ((4, 1.0), (11, 2.0)):
            watch(decodes(n), factor)
        watch(chunk(), 1.0)
        pace.end_step()
    few_ms, many_ms = (planned(decodes(n), DEFAULT_COSTS) for n in (4, 11))
    assert pace.costs.decode_factor == pytest.approx((few_ms + 2 * many_ms) / (few_ms + many_ms), abs=0.01)


@pytest.mark.parametrize(
    "calls",
    [
        [decodes()],
        [chunk()],
        [decodes() + chunk()],
        [decodes(), chunk() + chunk()],
        [[Span(one, 4) for one in on_streams([200])], chunk()],
    ],
    ids=["decodes alone", "a chunk alone", "in one call", "two chunks in a call", "runs"],
)
def test_other_steps_tell_nothing_of_decodes(pace: Pace, watch: Watch, calls: list[Call]) -> None:
    for call in calls:
        watch(call, 3.0)
    pace.end_step()
    assert pace.costs.decode_factor == 1.0


def test_the_first_chunk_tells_how_long_costs_are_and_later_ones_little_more(pace: Pace, watch: Watch) -> None:
    watch(decodes(), 5.0)
    pace.end_step()
    assert pace.costs.chunk_factor == 1.0
    factors = []
    for factor in [20.0, *[30.0] * 100]:
        watch(chunk(), factor)
        pace.end_step()
        factors.append(pace.costs.chunk_factor)
    assert factors[0] == pytest.approx(20.0)
    assert factors[1] < 21.0
    assert factors[-1] == pytest.approx(30.0, abs=0.1)


def test_each_step_counts_for_itself(pace: Pace, watch: Watch) -> None:
    watch(decodes(), 2.0)
    pace.end_step()
    watch(chunk(), 1.0)
    pace.end_step()
    assert pace.costs.decode_factor == 1.0


def test_a_call_that_fails_does_not_count(pace: Pace, watch: Watch) -> None:
    with pytest.raises(DecodeFailed), pace.watch(decodes()):
        raise DecodeFailed
    watch(chunk(), 1.0)
    pace.end_step()
    assert pace.costs.decode_factor == 1.0


@given(times=st.lists(st.tuples(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3)), max_size=60))
def test_disturbed_steps_do_not_lead_far_away(times: list[tuple[float, float]]) -> None:
    pace, clock = Pace(DEFAULT_COSTS), Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pace_module, "time", clock)
        for decodes_s, chunk_s in times:
            for call, call_s in ((decodes(2), decodes_s), (chunk(), chunk_s)):
                with pace.watch(call):
                    clock.now_s += call_s
            pace.end_step()
            assert 0.5 <= pace.costs.decode_factor <= 3.0


@pytest.mark.model
def test_the_engine_learns_it_and_reports_between_calls(short_model_path: Path, tmp_path: Path) -> None:
    """Whose prompt ends beside a request that generates has the first token before the other one's call begins."""
    sizes: dict[str, object] = {"streams": 2, "stream_tokens": 1024, "context_tokens": 1024, "short_streams": 0}
    engine, _ = load(order(short_model_path, tmp_path, **sizes))
    engine.submit(1, prompt("Tell a long story.", max_tokens=60))
    while not engine.stats().generated_tokens_total:
        engine.step()
    engine.submit(2, prompt("Once upon a time there was a king. " * 40, max_tokens=4))
    reports: list[list[tuple[int, type]]] = []
    between: list[list[tuple[int, type]]] = []

    def report() -> None:
        reports.append([(request_id, type(event)) for request_id, event in engine.take_events()])

    def report_between() -> None:
        report()
        between.append(reports[-1])

    report()
    while has_work(engine):
        engine.step(report_between)
        report()
    assert engine._pace.costs.decode_factor != 1.0
    assert between
    assert [] not in between
    first = next(events for events in reports if (2, Evaluated) in events)
    assert (2, Token) in first
    assert (1, Token) not in first
