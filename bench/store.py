"""What stored completions cost in SQLite: storing, pages and single ones, and all of them, in small and large databases."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import quantiles

from bench.filled import MODELS, TEAMS, filled, id_of
from bench.harness import Sample, Session, main
from bench.results import at_most, counted
from bench.storing import added
from completionist.settings import StoreSettings
from completionist.store.base import Filters, Page
from completionist.store.sql.state import State
from completionist.types.caller import DEFAULT_PROJECT

TITLE = "Stored completions in SQLite"


def measure(session: Session) -> None:
    n_large, n_small = session.pick((1_000_000, 10_000), (20_000, 2_000))
    with tempfile.TemporaryDirectory(prefix="store-bench-") as directory:
        large, small = (filled(Path(directory), n_rows) for n_rows in (n_large, n_small))
        _reading(session, large, small, n_large, n_small)
        _memory(session, large, small, n_large, n_small)
        _storing(session, f"sqlite:///{directory}/storing.db")


def _reading(session: Session, large: str, small: str, n_large: int, n_small: int) -> None:
    n_times = session.pick(300, 30)
    settings = StoreSettings(retention_days=0)
    states = [State(large, settings), State(small, settings)]
    runs = [_pages(state, n_rows, n_times) for state, n_rows in zip(states, (n_large, n_small), strict=True)]
    pairs = session.pairs(*runs)
    large_rows, small_rows = counted(n_large, "row"), counted(n_small, "row")
    session.ratio(f"page of 20, model and metadata, p95: {large_rows} / {small_rows}", pairs, "filtered", at_most(3))
    session.ratio(f"page of 20, no filter, p95: {large_rows} / {small_rows}", pairs, "plain", at_most(2))
    session.value(f"page of 20, model and metadata, {large_rows}, p95", "ms", [a["filtered"] for a, _ in pairs])
    session.value(f"one by id, {large_rows}, p95", "ms", [a["one"] for a, _ in pairs], at_most(2))
    for state in states:
        state.close()


def _pages(state: State, n_rows: int, n_times: int) -> Callable[[], Sample]:
    def page(filters: Filters) -> None:
        after = id_of(random.randrange(1, n_rows // 2))  # noqa: S311 (no secret)
        found = state.list(DEFAULT_PROJECT, filters, Page(after=after, limit=20))
        assert len(found.items) == 20 or filters.metadata

    def filtered() -> None:
        team = str(random.randrange(TEAMS))  # noqa: S311 (no secret)
        page(Filters(model=random.choice(MODELS), metadata=(("team", team),)))  # noqa: S311 (no secret)

    def run() -> Sample:
        return {
            "filtered": _p95_ms(filtered, n_times),
            "plain": _p95_ms(lambda: page(Filters()), n_times),
            "one": _p95_ms(lambda: state.get(DEFAULT_PROJECT, id_of(random.randrange(1, n_rows))), n_times),  # noqa: S311
        }

    return run


def _p95_ms(call: Callable[[], object], n_times: int) -> float:
    return quantiles([_ms(call) for _ in range(n_times)], n=20)[-1]


def _ms(call: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    call()
    return (time.perf_counter() - began_s) * 1e3


def _memory(session: Session, large: str, small: str, n_large: int, n_small: int) -> None:
    """The whole of both, read page by page and exported; what a process needs beside its modules is the same."""
    for what, command in (("list", ("bench.paging", "{url}")), ("export", ("completionist", "export", "-"))):
        samples = session.repeat(partial(_peaks_mb, large, small, command), session.pick(2, 1))
        name = f"peak memory of a whole {what}: {counted(n_large, 'row')} / {counted(n_small, 'row')}"
        session.ratio_within(name, samples, "large", "small", at_most(1.1))


def _peaks_mb(large: str, small: str, command: Sequence[str]) -> Sample:
    return {"large": _peak_mb(large, *command), "small": _peak_mb(small, *command)}


def _peak_mb(url: str, *command: str) -> float:
    environment = os.environ | {"COMPLETIONIST_STORE__URL": url, "COMPLETIONIST_STORE__RETENTION_DAYS": "0"}
    arguments = [sys.executable, "-m", *(argument.format(url=url) for argument in command)]
    process = subprocess.Popen(arguments, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}")
    return usage.ru_maxrss / 1e3


def _storing(session: Session, url: str) -> None:
    """Beside the same request that is not stored: hand over, one synchronised commit, and back."""
    samples = session.repeat(lambda: asyncio.run(added(url, session.pick(300, 30))))
    session.value("a request, p50", "ms", [sample["plain"] for sample in samples])
    session.value("what storing adds to it, p50", "ms", [sample["added"] for sample in samples], at_most(3))
    session.value("the event loop was held at most, nothing stored", "ms", [sample["held_plain"] for sample in samples])
    session.value("the event loop was held at most", "ms", [sample["held"] for sample in samples], at_most(5))


if __name__ == "__main__":
    main("store", TITLE, measure)
