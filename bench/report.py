"""Puts the recorded results into `docs/benchmarks.md`, between its two marks: `python -m bench.report`."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from bench.results import HEADINGS, Result, recorded

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
BEGIN, END = "<!-- results: written by python -m bench.report -->", "<!-- end of results -->"


def filled(page: str, results: list[Result]) -> str:
    """The page with the tables of `results` between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"the page has no place for results: {BEGIN} … {END}")
    body = "\n\n".join(_sections(results)) or "Nothing has been recorded on this machine yet."
    return f"{before}{BEGIN}\n\n{body}\n\n{END}{after}"


def _sections(results: list[Result]) -> list[str]:
    """One for each set of facts, so that figures of different machines or commits never share a table."""
    by_facts = sorted(results, key=lambda result: sorted(result.facts.items()))
    return [
        "\n\n".join([_facts(facts), *map(_table, group)])
        for facts, group in groupby(by_facts, key=lambda result: result.facts)
    ]


def _facts(facts: dict[str, str]) -> str:
    return f"### {facts['model file']}\n\n" + "\n".join(f"- {name}: {fact}" for name, fact in facts.items())


def _table(result: Result) -> str:
    rows = [HEADINGS, ("---",) * len(HEADINGS), *(figure.row() for figure in result.figures)]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    heading = (
        f"#### {result.title}\n\n`python -m bench.{result.scenario}`, {result.finished_at}, {result.duration_s:.0f} s"
    )
    return "\n".join([heading, "", *lines, *([""] if result.notes else []), *(f"- {note}" for note in result.notes)])


def main() -> None:
    results = recorded()
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), results), encoding="utf-8")
    print(f"{PAGE}: {len(results)} results")


if __name__ == "__main__":
    main()
