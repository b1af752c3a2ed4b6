"""`make fuzz`: a third of the time for the document, a third for the machines, then ten thousand requests with a nonce each.

    python -m tests.fuzz --minutes 20 --requests 10000
    python -m tests.fuzz --part nonces --requests 500

The machines are the property tests of the whole suite, with another seed and more examples in every round.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from completionist.settings import DEFAULT_MODEL
from tests.fuzz.bleed import bleed
from tests.fuzz.document import documented, fuzz
from tests.support.examples import TIMES_VARIABLE
from tests.support.real import running_model

_TIMES = 5
_STREAMS = 16
_SIZES = {"COMPLETIONIST_ENGINE__STREAMS": str(_STREAMS), "COMPLETIONIST_ENGINE__CONTEXT_TOKENS": "512"}
_LEAST_OWN = 0.5
_SAID_EVERY = 1000
_NOTHING_FAILED = (0, 5)
"""What pytest ends with where all tests passed, or where there was none."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0, help="for the document and the machines together")
    parser.add_argument("--requests", type=int, default=10_000, help="with a nonce each")
    parser.add_argument("--part", choices=("document", "machines", "nonces"), help="this one alone, with all the time")
    given = parser.parse_args()
    budget_s = given.minutes * (60 if given.part else 30)
    parts: dict[str, Callable[[], int]] = {
        "document": lambda: _document(budget_s),
        "machines": lambda: _machines(budget_s),
        "nonces": lambda: _bleed(given.requests),
    }
    return max(run() for name, run in parts.items() if given.part in (None, name))


def _document(budget_s: float) -> int:
    with tempfile.TemporaryDirectory() as name, documented(Path(name)) as server:
        found = fuzz(server, Path(name), "--phases", "coverage,fuzzing,stateful", "--max-time", str(round(budget_s)))
        n_answers = len(server.log_lines(event="request"))
    _say(f"document: {found.n_cases:,} cases, {n_answers:,} answers, {'clean' if found.is_clean else found.report}")
    return 0 if found.is_clean else 1


def _machines(budget_s: float) -> int:
    until_s, n_rounds = time.monotonic() + budget_s, 0
    while (left_s := until_s - time.monotonic()) > 0:
        n_rounds += 1
        seed = random.SystemRandom().randrange(2**32)
        try:
            done = _round(seed, left_s)
        except subprocess.TimeoutExpired:
            _say(f"machines: round {n_rounds}, seed {seed}, was at it when the time was over")
            return 0
        if done.returncode not in _NOTHING_FAILED:
            _say(f"machines: round {n_rounds}, seed {seed}\n{done.stdout}")
            return 1
        _say(f"machines: round {n_rounds}, seed {seed}, {done.stdout.splitlines()[-1]}")
    return 0


def _round(seed: int, timeout_s: float) -> subprocess.CompletedProcess[str]:
    """Raises `TimeoutExpired`."""
    command = [
        sys.executable, "-m", "pytest", "-q", "-m", "hypothesis and not large", "-n", "2", "--timeout", "1800",
        "--hypothesis-profile=fuzz", f"--hypothesis-seed={seed}", "tests",
    ]  # fmt: skip
    return subprocess.run(
        command,
        env={**os.environ, TIMES_VARIABLE: str(_TIMES)},
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
    )


def _bleed(n_requests: int) -> int:
    with tempfile.TemporaryDirectory() as name, running_model(Path(name) / "log", sizes=_SIZES) as url:
        began_s, seed = time.monotonic(), random.SystemRandom().randrange(2**32)

        def begins(number: int) -> None:
            if number and number % _SAID_EVERY == 0:
                _say(f"nonces: request {number:,} of {n_requests:,} after {time.monotonic() - began_s:.0f} s")

        done = bleed(url, DEFAULT_MODEL, n_requests=n_requests, at_once=2 * _STREAMS, seed=seed, begins=begins)
    _say(
        f"nonces: seed {seed}, {done.n_requests:,} requests in {time.monotonic() - began_s:.0f} s, "
        f"{done.n_own:,} repeat their own, "
        f"{len(done.foreign)} another one's, {len(done.broken)} failed {[*done.foreign, *done.broken][:5]}"
    )
    return 0 if not (done.foreign or done.broken) and done.n_own > _LEAST_OWN * n_requests else 1


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 (this is a command)


if __name__ == "__main__":
    sys.exit(main())
