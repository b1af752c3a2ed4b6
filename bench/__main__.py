"""The engine's scenarios, one after another, with a table for each; with --all the others too."""

from __future__ import annotations

import sys
from importlib import import_module

from bench.client import BrokenAnswer
from bench.harness import Options, parse_options, run_scenario, show_or_dump
from bench.machine import NotIdle
from bench.results import Result
from completionist.errors import OperatorError

ENGINE = (
    "http",
    "memory",
    "shared_prefix",
    "conversation",
    "queued",
    "long_prompt",
    "churn",
    "growth",
    "same_output",
    "cancellations",
)
OTHERS = ("api_cost", "store", "startup", "loading", "flood", "prediction", "choices", "schema", "compiling", "media")
_ALL = "--all"
_PAIRS = 1
"""So that the engine's scenarios take less than 20 minutes. A scenario alone measures more pairs, which are recorded."""


def main() -> int:
    arguments = [argument for argument in sys.argv[1:] if argument != _ALL]
    options = parse_options(__doc__ or "", ["--pairs", str(_PAIRS), *arguments])
    results: list[Result] = []
    failed: list[str] = []
    for name in ENGINE + OTHERS if _ALL in sys.argv else ENGINE:
        try:
            results.append(_run(name, options))
        except (BrokenAnswer, NotIdle, OperatorError, RuntimeError, OSError, LookupError, ValueError) as error:
            failed.append(name)
            print(f"{name}: {error}", file=sys.stderr)  # the others still count
    if options.is_json:
        show_or_dump(results, as_json=True)
    missed = [figure.name for result in results for figure in result.figures if figure.is_met is False]
    print(f"{len(results)} scenarios done, {len(failed)} failed, {len(missed)} figures missed", file=sys.stderr)
    return 1 if failed else 0


def _run(name: str, options: Options) -> Result:
    scenario = import_module(f"bench.{name}")
    result = run_scenario(name, scenario.TITLE, scenario.measure, options)
    if not options.is_json:
        show_or_dump([result], as_json=False)
        print(f"  {result.duration_s:.0f} s\n", flush=True)
    return result


if __name__ == "__main__":
    sys.exit(main())
