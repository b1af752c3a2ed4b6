"""What stored completions cost: pages and single ones in small and large databases, storing, exporting; SQLite, in process."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles

from bench.filled import MODELS, TEAMS, filled, id_of
from bench.harness import Sample, Session, main
from bench.results import at_most, counted
from completionist import ids
from completionist.settings import StoreSettings
from completionist.store.base import Filters, NewCompletion, Page
from completionist.store.sql.state import State
from completionist.store.sql.store import SqlStore
from completionist.types.caller import DEFAULT_PROJECT
from completionist.types.completion import (
    ChatCompletion,
    Choice,
    CompletionTokensDetails,
    Message,
    PromptTokensDetails,
    Usage,
)
from completionist.types.request import Draft

TITLE = "Stored completions in SQLite"

_REQUEST = b"""{"model": "small", "store": true, "metadata": {"team": "7"},
"messages": [{"role": "user", "content": "When is high water?"}]}"""
_USAGE = Usage(
    prompt_tokens=12,
    completion_tokens=40,
    total_tokens=52,
    prompt_tokens_details=PromptTokensDetails(),
    completion_tokens_details=CompletionTokensDetails(),
)


def measure(session: Session) -> None:
    n_large, n_small = session.pick((1_000_000, 10_000), (20_000, 2_000))
    with tempfile.TemporaryDirectory(prefix="store-bench-") as directory:
        large, small = (filled(Path(directory), n_rows) for n_rows in (n_large, n_small))
        _reading(session, large, small, n_large, n_small)
        _exporting(session, large, small, n_large, n_small)
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


def _exporting(session: Session, large: str, small: str, n_large: int, n_small: int) -> None:
    """The whole of both; what they need beside the interpreter and its modules is the same."""
    samples = session.repeat(lambda: {"large": _peak_mb(large), "small": _peak_mb(small)}, session.pick(2, 1))
    name = f"peak memory of an export: {counted(n_large, 'row')} / {counted(n_small, 'row')}"
    session.ratio_within(name, samples, "large", "small", at_most(1.1))


def _peak_mb(url: str) -> float:
    environment = os.environ | {"COMPLETIONIST_STORE__URL": url, "COMPLETIONIST_STORE__RETENTION_DAYS": "0"}
    command = [sys.executable, "-m", "completionist", "export", "-"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"the export ended with {process.returncode}")
    return usage.ru_maxrss / 1e3


def _storing(session: Session, url: str) -> None:
    """What a request with `store` waits for after its last token: hand over, one synchronised commit, and back."""
    n_times = session.pick(300, 30)
    samples = session.repeat(lambda: asyncio.run(_stored(url, n_times)))
    session.value("storing one answer, p50", "ms", [sample["p50"] for sample in samples], at_most(3))
    session.value("storing one answer, p95", "ms", [sample["p95"] for sample in samples])


async def _stored(url: str, n_times: int) -> Sample:
    store = SqlStore(StoreSettings(url=url))
    await store.start()
    taken_ms = []
    for _ in range(n_times):
        new = _new()
        began_s = time.perf_counter()
        await store.add(new)
        taken_ms.append((time.perf_counter() - began_s) * 1e3)
    await store.close()
    return {"p50": median(taken_ms), "p95": quantiles(taken_ms, n=20)[-1]}


def _new() -> NewCompletion:
    message = Message(content="High water is at noon, and again at midnight. " * 4)
    completion = ChatCompletion(
        id=ids.completion_id(),
        created=ids.now_s(),
        model="small",
        choices=(Choice(index=0, message=message, finish_reason="stop"),),
        usage=_USAGE,
        service_tier="default",
        system_fingerprint="fp_0000000000",
    )
    request = Draft.read(_REQUEST).request()
    return NewCompletion(project=DEFAULT_PROJECT, request_id=ids.request_id(), request=request, completion=completion)


if __name__ == "__main__":
    main("store", TITLE, measure)
