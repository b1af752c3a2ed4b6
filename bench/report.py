"""Puts the recorded results into `docs/benchmarks.md`, between its two marks: `python -m bench.report`.

A table stays until its scenario is measured again, with the same model file and kind of attention, on whatever machine.
"""

from __future__ import annotations

import re
from pathlib import Path

from bench.results import HEADINGS, Result, recorded

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
BEGIN, END = "<!-- results: written by python -m bench.report -->", "<!-- end of results -->"


def filled(page: str, results: list[Result]) -> str:
    """The page with the tables of `results` between its marks, in the place of older ones of the same things."""
    before, _, rest = page.partition(BEGIN)
    tables, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"the page has no place for results: {BEGIN} … {END}")
    sections = _sections(tables)
    for result in results:
        _put(sections, _facts(result.facts), _table(result))
    by_model = sorted(sections.items(), key=lambda section: section[0].partition("\n")[0])
    body = "\n\n".join("\n\n".join([facts, *tables]) for facts, tables in by_model if tables)
    return f"{before}{BEGIN}\n\n{body or 'Nothing has been recorded yet.'}\n\n{END}{after}"


def _sections(body: str) -> dict[str, list[str]]:
    """Tables by the facts that they share: figures of different machines or commits are never in one section."""
    sections = {}
    for section in re.split(r"^(?=### )", body, flags=re.MULTILINE)[1:]:
        facts, *tables = re.split(r"^(?=#### )", section, flags=re.MULTILINE)
        sections[facts.strip()] = [table.strip() for table in tables]
    return sections


def _put(sections: dict[str, list[str]], facts: str, table: str) -> None:
    subject = _subject(facts, table)
    for others, tables in sections.items():
        tables[:] = [one for one in tables if _subject(others, one) != subject]
    sections.setdefault(facts, []).append(table)


def _subject(facts: str, table: str) -> tuple[str, ...]:
    """What a table is about: model file, kind of attention and scenario."""
    attention = re.search(r"flash attention: (\w+)", facts)
    (scenario,) = re.findall(r"`python -m bench\.(\w+)`", table)
    return facts.partition("\n")[0], attention[1] if attention else "auto", scenario


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
