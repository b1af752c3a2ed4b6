"""Requests that come, leave in the middle and go, on a tiny model: afterwards nothing of them is left."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from completionist.engine.base import End, Failed, PlainText, Prompt, Sampling
from completionist.engine.llama.loading import load
from completionist.engine.llama.loop import Engine
from tests.engine.asking import has_work
from tests.engine.test_memory import order
from tests.engine.tiny_models import write_plain, write_recurrent, write_sliding_window

CACHE_BYTES = 200_000
"""Small enough to be full soon, so that entries go as well as come."""


@pytest.mark.parametrize(
    ("write", "n_requests"), [(write_plain, 150), (write_sliding_window, 60), (write_recurrent, 60)]
)
def test_churn_leaves_no_cell_stream_or_blob(write: Callable[[Path], Path], n_requests: int, tmp_path: Path) -> None:
    churn(loaded(write(tmp_path / "tiny.gguf"), tmp_path), n_requests)


@pytest.mark.large
@pytest.mark.timeout(1200)
def test_ten_thousand_requests_leave_no_cell_stream_or_blob(tmp_path: Path) -> None:
    churn(loaded(write_plain(tmp_path / "tiny.gguf"), tmp_path), 10_000)


def test_churn_among_short_streams_leaves_nothing_either(short_model_path: Path, tmp_path: Path) -> None:
    sizes: dict[str, object] = {"streams": 3, "stream_tokens": 1024, "context_tokens": 1024, "short_streams": 5}
    engine = loaded(short_model_path, tmp_path, **sizes)
    churn(engine, 50)
    assert engine._memory.pools[-1].left_behind


def loaded(model: Path, directory: Path, **changes: object) -> Engine:
    sizes: dict[str, object] = {"streams": 6, "stream_tokens": 256, "context_tokens": 512, "long_streams": 2}
    return load(order(model, directory, **{"cache_bytes": CACHE_BYTES, **sizes, **changes}))[0]


def churn(engine: Engine, n_requests: int) -> None:
    """Arrivals, steps, a third of the requests cancelled or stopped; each of the others ends once for every choice."""
    chance = random.Random(5)  # noqa: S311 - the same sequence in every run is the point
    coming = list(range(n_requests))
    choices: dict[int, int] = {}
    left: set[int] = set()
    ends: dict[int, list[int]] = {}
    while coming or has_work(engine):
        if coming and engine.stats().waiting < 40:
            choices[coming[0]] = chance.choice([1, 1, 1, 2, 5])
            engine.submit(coming[0], _prompt(chance, choices[coming[0]]))
            coming.pop(0)
        if chance.random() < 1 / 3:
            victim = chance.choice(sorted(choices)[-20:])
            engine.cancel(victim) if chance.random() < 0.5 else engine.stop(victim, 0)
            left.add(victim)
        engine.step()
        for request_id, event in engine.take_events():
            assert not isinstance(event, Failed), event
            if isinstance(event, End):
                ends.setdefault(request_id, []).append(event.index)
    for request_id, n in choices.items():
        if request_id not in left:
            assert sorted(ends[request_id]) == list(range(n))
    _check_empty(engine)


def _prompt(chance: random.Random, n: int) -> Prompt:
    text = chance.choice("abc") + "a story that many have in common; " * chance.randrange(12) + str(chance.random())
    return Prompt(
        project=chance.choice(["one", "two", "three"]),
        segments=(PlainText(text),),
        n=n,
        max_tokens=chance.randrange(1, 60),
        sampling=Sampling(temperature=1.0, seed=chance.randrange(1000)),
    )


def _check_empty(engine: Engine) -> None:
    stats, memory = engine.stats(), engine._memory
    assert (stats.running, stats.waiting, stats.streams_free) == (0, 0, memory.n_streams)
    assert 0 < stats.cache_bytes <= CACHE_BYTES
    memory.check()
    for entry in list(memory.prefixes.entries()):
        memory.prefixes.remove(entry)
    assert (memory.prefixes.n_entries, memory.prefixes.n_bytes) == (0, 0)
