"""What a scenario found: figures with their spread and target, as a table for people and as JSON for `bench.report`."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Literal

import msgspec
from rich.console import Console
from rich.table import Table

DIRECTORY = Path(__file__).parent / "results"


class Target(msgspec.Struct, frozen=True):
    """What a median has to reach."""

    bound: Literal["at least", "at most"]
    value: float

    def is_met(self, value: float) -> bool:
        return value >= self.value if self.bound == "at least" else value <= self.value

    def __str__(self) -> str:
        return f"{'≥' if self.bound == 'at least' else '≤'} {_number(self.value)}"


def at_least(value: float) -> Target:
    return Target("at least", value)


def at_most(value: float) -> Target:
    return Target("at most", value)


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One number, measured several times. A ratio is ours divided by the reference, pair by pair."""

    name: str
    unit: str
    """x for ratios."""
    values: tuple[float, ...]
    ours: tuple[float, ...] = ()
    """What the ratios were made of."""
    reference: tuple[float, ...] = ()
    target: Target | None = None

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def is_met(self) -> bool | None:
        return None if self.target is None else self.target.is_met(self.median)

    def row(self) -> tuple[str, ...]:
        """Cells as text: name, median, spread, ours against reference, target, verdict."""
        spread = f"{_number(min(self.values))} … {_number(max(self.values))}"
        parts = f"{_number(median(self.ours))} / {_number(median(self.reference))}" if self.ours else ""
        verdict = {None: "", True: "met", False: "missed"}[self.is_met]
        target = str(self.target) if self.target else ""
        return self.name, f"{_number(self.median)} {self.unit}", spread, parts, target, verdict


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One run of one scenario."""

    scenario: str
    title: str
    model: str
    recordable: bool
    """False for forced, shortened and too few runs."""
    facts: dict[str, str]
    figures: tuple[Figure, ...]
    notes: tuple[str, ...]
    finished_at: str
    """ISO 8601, UTC."""
    duration_s: float


HEADINGS = ("figure", "median", "spread", "ours / reference", "target", "")


def show(result: Result, console: Console) -> None:
    """The result as a table."""
    state = "" if result.recordable else " (not recordable)"
    table = Table(*HEADINGS, title=f"{result.title}: {result.model}{state}", title_justify="left")
    for figure in result.figures:
        table.add_row(*figure.row())
    console.print(table, markup=False)
    for note in result.notes:
        console.print(f"  {note}", markup=False)


def record(result: Result) -> Path:
    """Write a recordable result to where `bench.report` finds it."""
    assert result.recordable
    DIRECTORY.mkdir(exist_ok=True)
    chosen = result.facts["flash attention"]
    attention = "" if chosen == "auto" else f"-flash-{chosen}"
    path = DIRECTORY / f"{result.scenario}-{result.model}{attention}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
    return path


def recorded() -> list[Result]:
    """All recorded results, by scenario and model."""
    return [msgspec.json.decode(path.read_bytes(), type=Result) for path in sorted(DIRECTORY.glob("*.json"))]


def counted(count: int, noun: str) -> str:
    """`1 stream`, `16 streams`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _number(value: float) -> str:
    """Three significant digits, without an exponent; whole numbers as such."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"
