"""The bare library's speed on this machine, and what its calls cost, in a process of its own.

    python -m completionist.engine.llama.yardstick LIBRARY MODEL PLAN

PLAN is a `Plan` as JSON; every line that is written is a `Reading` as JSON, one for each thread count.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from completionist.engine.base import Sampling
from completionist.engine.llama.calls import Span
from completionist.engine.llama.capi import LibraryRefused, Native
from completionist.engine.llama.costs import DEFAULT_COSTS, Costs
from completionist.engine.llama.measuring import PROMPT_TOKENS, measured
from completionist.engine.llama.model import Model, ModelRefused
from completionist.engine.llama.runner import Context, ContextRefused
from completionist.engine.llama.sequence import Request, Sequence

_STEP_TOKENS = 8
"""A prompt so short that only the steps behind it count."""
_REPEATS = 2


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to measure."""

    threads: tuple[int, ...]
    streams: int
    prompt_tokens: int
    """At most 512."""
    one_tokens: int
    """Of a stream alone."""
    many_tokens: int
    """Of each of `streams`."""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What one thread count gave, in tokens per second."""

    threads: int
    one_per_s: float
    many_per_s: float
    prompt_per_s: float
    costs: Costs

    @property
    def merit(self) -> float:
        """For comparing thread counts: none of the three speeds may pay for another."""
        return self.one_per_s * self.many_per_s * self.prompt_per_s


def read(model: Model, plan: Plan, threads: int) -> Reading:
    """Measure with one thread count. Raises `ContextRefused`."""
    n_cells = max(PROMPT_TOKENS, plan.prompt_tokens, _STEP_TOKENS + 1 + max(plan.one_tokens, plan.many_tokens))
    context = Context(model, n_streams=plan.streams, stream_tokens=n_cells, threads=threads)
    context.warm_up()
    try:
        prompt_ms = min(_prompt_ms(context, model, plan.prompt_tokens) for _ in range(_REPEATS))
        one_ms, many_ms = (
            _steps_ms(context, model, n_streams, n_steps)
            for n_streams, n_steps in ((1, plan.one_tokens), (plan.streams, plan.many_tokens))
        )
        costs = measured(context) or DEFAULT_COSTS
    finally:
        context.close()
    return Reading(
        threads=threads,
        one_per_s=1000 / float(np.mean(one_ms)),
        many_per_s=1000 * plan.streams / float(np.mean(many_ms)),
        prompt_per_s=1000 * plan.prompt_tokens / prompt_ms,
        costs=costs,
    )


def _prompt_ms(context: Context, model: Model, n_tokens: int) -> float:
    return _timed(context, [Span(_started(context, model, 0, n_tokens), n_tokens)])[0]


def _steps_ms(context: Context, model: Model, n_streams: int, n_steps: int) -> list[float]:
    """Milliseconds of each step of greedy answers side by side, the draws included."""
    sequences = [_started(context, model, stream, _STEP_TOKENS) for stream in range(n_streams)]
    for sequence in sequences:
        sequence.tokens.append(int(_timed(context, [Span(sequence, _STEP_TOKENS)])[1].argmax()))
    steps_ms = []
    for _ in range(n_steps):
        began_s = time.perf_counter()
        rows = context.run([Span(sequence, 1) for sequence in sequences])
        for sequence, row in zip(sequences, rows, strict=True):
            sequence.tokens.append(int(row.argmax()))
        steps_ms.append((time.perf_counter() - began_s) * 1000)
    return steps_ms


def _timed(context: Context, call: list[Span]) -> tuple[float, NDArray[np.float32]]:
    began_s = time.perf_counter()
    rows = context.run(call)
    return (time.perf_counter() - began_s) * 1000, rows


def _started(context: Context, model: Model, stream: int, n_tokens: int) -> Sequence:
    """A sequence with a random prompt on an emptied stream."""
    context.forget(stream)
    tokens: list[int] = np.random.default_rng(stream).integers(model.vocabulary_size, size=n_tokens).tolist()
    request = Request(
        id=stream,
        project="",
        tier="default",
        arrived_s=0,
        tokens=tokens,
        sampling=Sampling(temperature=0, seed=0),
        max_tokens=None,
        choices_waiting=[0],
    )
    sequence = request.start()
    sequence.stream = stream
    return sequence


def main(library: str, path: str, plan: str) -> None:
    wanted = msgspec.json.decode(plan, type=Plan)
    model = Model(Native(Path(library)), Path(path))
    for threads in wanted.threads:
        sys.stdout.write(msgspec.json.encode(read(model, wanted, threads)).decode() + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (LibraryRefused, ModelRefused, ContextRefused) as error:
        sys.exit(str(error))
    os._exit(0)  # the library's destructors have crashed at exit before
