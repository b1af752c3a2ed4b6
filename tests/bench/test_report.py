"""Figures, their targets, and the page that results are written into."""

from __future__ import annotations

import pytest

from bench.report import BEGIN, END, PAGE, filled
from bench.results import Figure, Result, at_least, at_most


def result(commit: str, median: float, scenario: str = "http", attention: str = "auto") -> Result:
    figure = Figure(name="speed", unit="x", values=(median,), target=at_least(0.95))
    return Result(
        scenario=scenario,
        title="Through HTTP",
        model="m",
        recordable=True,
        facts={"commit": commit, "flash attention": attention, "model file": "m.gguf"},
        figures=(figure,),
        notes=("a note",),
        finished_at="2026-01-01T00:00:00+00:00",
        duration_s=1.0,
    )


def test_a_target_is_held_against_the_median() -> None:
    assert Figure(name="", unit="", values=(1, 2, 30), target=at_most(2)).is_met
    assert not Figure(name="", unit="", values=(1, 2, 30), target=at_least(3)).is_met
    assert Figure(name="", unit="", values=(1,)).is_met is None


def test_results_stand_between_the_marks() -> None:
    results = [result("abc", 0.96), result("abc", 0.5, "queued"), result("def", 1, "churn")]
    page = filled(f"before\n{BEGIN}\nold\n{END}\nafter\n", results)
    assert page.startswith("before\n")
    assert page.endswith(f"{END}\nafter\n")
    assert "old" not in page
    assert page.count("- commit: abc") == page.count("- commit: def") == 1
    assert "| speed | 0.96 x | 0.96 … 0.96 |  | ≥ 0.95 | met |" in page
    assert "| missed |" in page


def test_a_result_takes_the_place_of_the_older_one() -> None:
    """Of the same scenario, model file and attention; the others stay, and a section goes with its last table."""
    page = f"{BEGIN}\n{END}"
    first = filled(page, [result("abc", 0.96), result("abc", 0.7, "queued"), result("abc", 0.5, attention="on")])
    second = filled(first, [result("def", 0.97)])
    assert "| speed | 0.96 x" not in second
    assert [second.count(f"| speed | {median} x") for median in ("0.97", "0.70", "0.50")] == [1, 1, 1]
    third = filled(second, [result("def", 1, "queued"), result("def", 1, attention="on")])
    assert "- commit: abc" not in third
    assert filled(third, []) == third


def test_the_page_in_the_tree_has_its_marks() -> None:
    assert "#### Through HTTP" in filled(PAGE.read_text(encoding="utf-8"), [result("abc", 1)])
    with pytest.raises(ValueError, match="no place"):
        filled("a page without marks", [])
