"""The one way figures are taken: pairs interleaved A/B/A/B on an idle machine, the ratio of each pair, median and spread.

A scenario is a function that is given a `Session` and adds figures to it. Between runs the harness looks at the machine
for a second, and it watches during them; a run beside which others were busy is thrown away and done again.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeVar

import msgspec
from rich.console import Console

from bench.client import BrokenAnswer
from bench.machine import MAX_FOREIGN_LOAD, NotIdle, facts, foreign_load, watching
from bench.results import Figure, Result, Target, record, show
from completionist.engine.llama.library import Library, find_library
from completionist.engine.llama.quota import processors
from completionist.errors import OperatorError
from completionist.models.installed import ModelFile, resolve
from completionist.settings import DEFAULT_MODEL, ModelSettings

T = TypeVar("T")

PAIRS, MIN_PAIRS = 5, 3
_PATIENCE_S = 60.0
_MAX_REPEATS = 3

Sample = Mapping[str, float]
"""What one run measured, by name."""
Run = Callable[[], Sample]
Pairs = list[tuple[Sample, Sample]]


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to measure."""

    model: ModelFile
    library: Library
    """Which llama.cpp runs everywhere, the bare loop included."""
    threads: int
    flash_attention: Literal["auto", "on", "off"]
    """Of our server; the bare loop has what auto gives, the peer always."""
    pairs: int
    is_short: bool
    """Sizes that only show that a scenario works."""
    is_long: bool
    """The sizes of a soak, where a scenario has them."""
    is_forced: bool
    """Run on a busy machine too."""
    is_json: bool


class Session:
    """One scenario being measured."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.figures: list[Figure] = []
        self.notes: list[str] = []

    def pick(self, full: T, short: T) -> T:
        """A size: the real one, or the one of a short run."""
        return short if self.options.is_short else full

    def pairs(self, ours: Run, reference: Run, *, warm_up: bool = True) -> Pairs:
        """A/B/A/B …, after one uncounted run of each."""
        if warm_up:
            ours()
            reference()
        return [(self.measure(ours), self.measure(reference)) for _ in range(self.options.pairs)]

    def repeat(self, run: Run, times: int | None = None) -> list[Sample]:
        """The same run again and again, for figures that have no reference."""
        return [self.measure(run) for _ in range(times or self.options.pairs)]

    def measure(self, run: Run) -> Sample:
        """One run on an idle machine, done again where somebody disturbed it."""
        for _ in range(_MAX_REPEATS):
            self._wait_until_idle()
            with watching() as load:
                sample = run()
            if self.options.is_forced or load.cores <= MAX_FOREIGN_LOAD:
                return sample
        raise NotIdle(f"{_MAX_REPEATS} runs were disturbed, the last by {load.cores:.2f} cores of other processes")

    def ratio(self, name: str, pairs: Pairs, key: str, target: Target | None = None) -> None:
        """A figure: `key` of ours divided by `key` of the reference, for every pair."""
        ours, reference = tuple(a[key] for a, _ in pairs), tuple(b[key] for _, b in pairs)
        values = tuple(a / b for a, b in zip(ours, reference, strict=True))
        self.figures.append(Figure(name=name, unit="x", values=values, ours=ours, reference=reference, target=target))

    def ratio_within(self, name: str, samples: list[Sample], key: str, to: str, target: Target | None = None) -> None:
        """A figure: two measurements of the same run, `key` divided by `to`."""
        self.ratio(name, [({"": sample[key]}, {"": sample[to]}) for sample in samples], "", target)

    def value(self, name: str, unit: str, values: list[float], target: Target | None = None) -> None:
        """A figure that stands by itself."""
        self.figures.append(Figure(name=name, unit=unit, values=tuple(values), target=target))

    def note(self, text: str) -> None:
        """A fact that belongs under the table."""
        self.notes.append(text)

    def _wait_until_idle(self) -> None:
        if self.options.is_forced:
            return
        deadline_s = time.monotonic() + _PATIENCE_S
        while (load := foreign_load()) > MAX_FOREIGN_LOAD:
            if time.monotonic() > deadline_s:
                raise NotIdle(f"other processes keep {load:.2f} cores busy")


Scenario = Callable[[Session], None]


def run_scenario(name: str, title: str, scenario: Scenario, options: Options) -> Result:
    """Measure, and record where the result may be. Raises `NotIdle`."""
    session = Session(options)
    began_s = time.monotonic()
    scenario(session)
    result = Result(
        scenario=name,
        title=title,
        model=options.model.name,
        recordable=not (options.is_forced or options.is_short or options.pairs < MIN_PAIRS),
        facts=facts(options.library, options.model.path, options.threads, flash_attention=options.flash_attention),
        figures=tuple(session.figures),
        notes=tuple(session.notes),
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
        duration_s=round(time.monotonic() - began_s, 1),
    )
    if result.recordable:
        record(result)
    return result


def main(name: str, title: str, scenario: Scenario) -> None:
    """The command of one scenario."""
    options = parse_options(title)
    try:
        result = run_scenario(name, title, scenario, options)
    except (BrokenAnswer, NotIdle, OperatorError) as error:
        sys.exit(f"{name}: {error}" + (" (--force runs all the same)" if isinstance(error, NotIdle) else ""))
    show_or_dump([result], as_json=options.is_json)


def show_or_dump(results: list[Result], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode(results) + b"\n")
        return
    console = Console(width=None if sys.stdout.isatty() else 140)
    for result in results:
        show(result, console)


def parse_options(description: str, arguments: list[str] | None = None) -> Options:
    """Options from the command line."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--model", default=DEFAULT_MODEL, help="catalogue name or GGUF file")
    parser.add_argument("--library", choices=("wheel", "native"), default="wheel", help="which llama.cpp runs")
    parser.add_argument("--threads", type=int, default=processors(), help="of the library (default: the quota)")
    parser.add_argument(
        "--flash-attention", choices=("auto", "on", "off"), default="auto", help="our server's engine.flash_attention"
    )
    parser.add_argument("--pairs", type=int, default=PAIRS, help=f"fewer than {MIN_PAIRS} are not recorded")
    parser.add_argument(
        "--short", action="store_true", help="small sizes and one pair, to see that it works; not recorded"
    )
    parser.add_argument("--long", action="store_true", help="the sizes of a soak, where a scenario has them")
    parser.add_argument("--force", action="store_true", help="run on a busy machine; not recorded")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args(arguments)
    try:
        model, library = resolve(given.model, ModelSettings()), _library(given.library)
    except OperatorError as error:
        parser.error(str(error))
    return Options(
        model=model,
        library=library,
        threads=given.threads,
        flash_attention=given.flash_attention,
        pairs=1 if given.short else given.pairs,
        is_short=given.short,
        is_long=given.long,
        is_forced=given.force,
        is_json=given.json,
    )


def _library(which: str) -> Library:
    """The wheel's file, or the native build; with an empty cache directory only the wheel's is found."""
    if which == "wheel":
        return find_library(cache_dir=Path("/nonexistent"))
    library = find_library()
    if "native" not in library.description:
        raise OperatorError("there is no native build: completionist engine build")
    return library
