"""Runs are interleaved, ratios are taken pair by pair, and a forced or shortened result is never recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import results
from bench.harness import Options, Session, run_scenario
from completionist.engine.llama.library import Library
from completionist.models.installed import ModelFile


@pytest.fixture
def forced(tmp_path: Path) -> Options:
    """On whatever machine the tests run, so idle or not must not matter."""
    model = tmp_path / "m.gguf"
    model.write_bytes(b"GGUF")
    return Options(
        model=ModelFile(path=model, name="m", publisher="local", sha256=None, added_at_s=0),
        library=Library(path=model, description="none"),
        threads=1,
        flash_attention="auto",
        pairs=5,
        is_short=False,
        is_long=False,
        is_forced=True,
        is_json=False,
    )


def test_runs_are_interleaved_after_a_warm_up(forced: Options) -> None:
    order: list[str] = []

    def run(who: str) -> dict[str, float]:
        order.append(who)
        return {"speed": len(order)}

    session = Session(forced)
    pairs = session.pairs(lambda: run("a"), lambda: run("b"))
    assert order == ["a", "b"] * 6
    session.ratio("speed", pairs, "speed")
    (figure,) = session.figures
    assert list(figure.ours) == [3, 5, 7, 9, 11]
    assert list(figure.reference) == [4, 6, 8, 10, 12]
    assert list(figure.values) == [3 / 4, 5 / 6, 7 / 8, 9 / 10, 11 / 12]


def test_a_forced_result_is_not_recorded(forced: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "DIRECTORY", tmp_path / "results")
    result = run_scenario("x", "X", lambda session: session.value("n", "", [1.0]), forced)
    assert not result.recordable
    assert not (tmp_path / "results").exists()
    assert "GGUF" not in result.facts["model file"]
    assert result.facts["threads"] == "1"
