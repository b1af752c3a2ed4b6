"""The costs of calls: solving for them, and keeping them for the machine and file that they were measured with."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from completionist.engine.llama.costs import Costs, Measured, keep, kept, solve
from completionist.engine.llama.launch import launch
from completionist.engine.llama.library import find_library
from completionist.engine.llama.quota import processors
from completionist.settings import EngineSettings

MEASURED = Measured(threads=processors() + 1, costs=Costs(call_ms=3.0, row_ms=2.0, cell_ms=0.001))

milliseconds = st.floats(0.01, 1000)


@given(costs=st.builds(Costs, call_ms=milliseconds, row_ms=milliseconds, cell_ms=st.floats(1e-4, 0.1)))
def test_three_calls_tell_the_costs(costs: Costs) -> None:
    one, many, far = ((rows, cells, costs.of(rows, cells)) for rows, cells in ((1, 256), (64, 256), (64, 1280)))
    found = solve(one, many, far)
    assert found.call_ms == pytest.approx(costs.call_ms, rel=1e-3, abs=1e-3)
    assert found.row_ms == pytest.approx(costs.row_ms, rel=1e-3)
    assert found.cell_ms == pytest.approx(costs.cell_ms, rel=1e-3)


@given(one_ms=milliseconds, many_ms=milliseconds, far_ms=milliseconds)
def test_noise_makes_no_cost_negative(one_ms: float, many_ms: float, far_ms: float) -> None:
    found = solve((1, 256, one_ms), (64, 256, many_ms), (64, 1280, far_ms))
    assert min(found.call_ms, found.row_ms, found.cell_ms) > 0


def test_what_was_measured_is_kept_for_this_file_and_library_only(tmp_path: Path) -> None:
    model = tmp_path / "model.gguf"
    model.write_bytes(b"GGUF")
    assert kept(tmp_path, model, "wheel") is None
    keep(tmp_path, model, "wheel", MEASURED)
    assert kept(tmp_path, model, "wheel") == MEASURED
    assert kept(tmp_path, model, "native") is None
    model.write_bytes(b"GGUF, another one")
    assert kept(tmp_path, model, "wheel") is None


def test_a_damaged_record_counts_as_none(tmp_path: Path) -> None:
    model = tmp_path / "model.gguf"
    model.write_bytes(b"GGUF")
    keep(tmp_path, model, "wheel", MEASURED)
    (record,) = (tmp_path / "costs").iterdir()
    record.write_bytes(b"{")
    assert kept(tmp_path, model, "wheel") is None


def test_a_worker_starts_with_the_measured_threads_unless_told_otherwise(tmp_path: Path) -> None:
    model = tmp_path / "model.gguf"
    model.write_bytes(b"GGUF")

    def threads(settings: EngineSettings) -> int:
        return launch(model, "m", settings, cache_dir=tmp_path).load.threads

    assert threads(EngineSettings()) == processors()
    keep(tmp_path, model, find_library(cache_dir=tmp_path).description, MEASURED)
    assert threads(EngineSettings()) == MEASURED.threads
    assert threads(EngineSettings(threads=1)) == 1
