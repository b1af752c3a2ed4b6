"""What calls cost, measured at the first start: solving for it, when it is measured, and that a worker does."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from completionist.engine.llama import measuring
from completionist.engine.llama.calls import attended
from completionist.engine.llama.costs import DEFAULT_COSTS, Costs
from completionist.engine.llama.loading import load
from completionist.engine.llama.measuring import costs_at_start, solve
from completionist.engine.llama.runner import Context
from tests.engine.test_memory import order

COSTS = Costs(call_ms=5.0, row_ms=3.0, cell_ms=0.002)


class Clock:
    """A context whose calls take what they cost, and the time that passes in it."""

    vocabulary_size = 100
    is_movable = True

    def __init__(
        self, costs: Costs = COSTS, *, stream_tokens: int = 320, disturbed_ms: dict[int, float] | None = None
    ) -> None:
        self.stream_tokens = stream_tokens
        self.n_calls = 0
        self.is_empty = True
        self._costs = costs
        self._disturbed_ms = disturbed_ms or {}
        """What others add to a call, by its number."""
        self._now_ms = 0.0

    def arithmetic(self) -> str:
        return ""

    def forget(self, stream: int) -> None:
        assert stream == 0
        self.is_empty = True

    def logits_behind(self, tokens: list[int], n_known: int) -> np.ndarray:
        assert n_known < len(tokens) <= self.stream_tokens
        self._now_ms += self._costs.of(len(tokens) - n_known, attended(len(tokens)))
        self._now_ms += self._disturbed_ms.get(self.n_calls, 0.0)
        self.n_calls += 1
        self.is_empty = False
        return np.zeros(self.vocabulary_size, np.float32)

    def perf_counter(self) -> float:
        return self._now_ms / 1000


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF")
    return path


@pytest.fixture
def found(model: Path, monkeypatch: pytest.MonkeyPatch) -> Found:
    return Found(model, monkeypatch)


class Found:
    """Costs as a start finds them."""

    def __init__(self, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._model = model
        self._monkeypatch = monkeypatch

    def __call__(self, clock: Clock, *, may_measure: bool = True) -> Costs:
        self._monkeypatch.setattr(measuring, "time", clock)
        context = cast("Context", clock)
        return costs_at_start(context, self._model.parent, self._model, "wheel", may_measure=may_measure)


def as_measured(costs: Costs) -> object:
    return pytest.approx(msgspec.structs.astuple(costs), rel=1e-6)


milliseconds = st.floats(0.1, 100)


@given(costs=st.builds(Costs, call_ms=milliseconds, row_ms=milliseconds, cell_ms=st.floats(1e-4, 0.1)))
def test_a_row_and_a_chunk_near_and_far_tell_the_costs(costs: Costs) -> None:
    solved = msgspec.structs.astuple(solve(costs.of(1, 256), costs.of(64, 256), costs.of(64, 512)))
    assert solved == pytest.approx(msgspec.structs.astuple(costs), rel=1e-6, abs=1e-9)


def test_they_are_measured_once(found: Found) -> None:
    first, again = Clock(), Clock(Costs(call_ms=9.0, row_ms=9.0, cell_ms=0.009))
    assert msgspec.structs.astuple(found(first)) == as_measured(COSTS)
    assert msgspec.structs.astuple(found(again)) == as_measured(COSTS)
    assert (first.n_calls, first.is_empty, again.n_calls) == (13, True, 0)


def test_single_calls_that_others_disturb_do_not_count(found: Found) -> None:
    clock = Clock(disturbed_ms={0: 80.0, 3: 900.0, 4: 500.0, 6: 500.0, 9: 300.0, 11: 50.0})
    assert msgspec.structs.astuple(found(clock)) == as_measured(COSTS)


@pytest.mark.parametrize(
    "clock",
    [
        Clock(disturbed_ms=dict.fromkeys(range(7, 10), 400.0)),
        Clock(disturbed_ms=dict.fromkeys(range(4, 7), 40000.0)),
        Clock(Costs(call_ms=5.0, row_ms=1.0, cell_ms=0.002), disturbed_ms=dict.fromkeys(range(10, 13), 90.0)),
        Clock(disturbed_ms=dict.fromkeys(range(3), 900.0)),
        Clock(stream_tokens=319),
    ],
    ids=["falling", "steep", "rows for nothing", "too slow", "short streams"],
)
def test_what_shows_nothing_is_not_kept(found: Found, clock: Clock) -> None:
    assert found(clock) == DEFAULT_COSTS
    assert clock.is_empty
    assert msgspec.structs.astuple(found(Clock())) == as_measured(COSTS)


def test_nothing_is_measured_beside_other_work(found: Found) -> None:
    clock = Clock()
    assert found(clock, may_measure=False) == DEFAULT_COSTS
    assert clock.n_calls == 0
    found(Clock())
    assert msgspec.structs.astuple(found(clock, may_measure=False)) == as_measured(COSTS)


def test_a_worker_measures_at_its_first_start(
    short_model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def priced(context: Context, tokens: list[int], n_known: int) -> float:
        context.logits_behind(tokens, n_known)
        return COSTS.of(len(tokens) - n_known, attended(len(tokens)))

    def costs(**changes: object) -> Costs:
        fields: dict[str, object] = {"streams": 1, "stream_tokens": 512, "long_streams": 0, **changes}
        engine, _ = load(order(short_model_path, tmp_path, **fields))
        engine._memory.check()
        return engine._pace.costs

    monkeypatch.setattr(measuring, "_fastest_ms", priced)
    assert costs(is_alone=False) == DEFAULT_COSTS
    assert msgspec.structs.astuple(costs()) == as_measured(COSTS)
    assert msgspec.structs.astuple(costs(is_alone=False)) == as_measured(COSTS)
