"""What calls to the library cost with one context, measured with the chunks of a short prompt.

The first start with a model file does it, unless something else goes on in the server: it takes as long as 512 tokens of a
prompt. What is found is kept. `completionist bench` measures on purpose, and what it kept goes first.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import numpy as np

from completionist.engine.llama.calls import attended
from completionist.engine.llama.costs import DEFAULT_COSTS, Costs
from completionist.engine.llama.records import read, record_of, write
from completionist.engine.llama.runner import Context

_CHUNK_ROWS = 64
_N_CHUNKS = 8
_PROMPT_TOKENS = _CHUNK_ROWS * _N_CHUNKS
_REPEATS = 3
_LONGEST_ROW_MS = 120.0
"""Where a single row takes longer the chunks would take a start more than ten seconds."""
_MOST_ROWS_A_CALL = 100.0
_CELLS_A_ROW = (100.0, 100_000.0)
"""A call as dear as so many rows, or a row as so few or so many cells, is noise."""


def costs_at_start(context: Context, cache_dir: Path, model: Path, library: str, *, may_measure: bool) -> Costs:
    """Those that were kept, else measured if that may be done now, else those of another model. What `context` holds in its
    first stream may be lost. Raises `DecodeFailed`, and `OSError` where there is no such file."""
    record = record_of(cache_dir, "calls", model, library, context.arithmetic())
    costs = read(record, Costs)
    if costs is None and may_measure:
        costs = measured(context)
        with contextlib.suppress(OSError):  # then it is measured again at the next start
            if costs:
                write(record, costs)
    return costs or DEFAULT_COSTS


def measured(context: Context) -> Costs | None:
    """None where it would take too long, streams are too short, or others used the machine too much. What `context` holds in
    its first stream is lost. Raises `DecodeFailed`."""
    if context.stream_tokens < _PROMPT_TOKENS:
        return None
    tokens = [7 * i % context.vocabulary_size for i in range(1, _PROMPT_TOKENS + 1)]
    one_ms = min(_timed_ms(context, tokens[:1], 0) for _ in range(_REPEATS))
    if one_ms > _LONGEST_ROW_MS:
        return None
    ends = range(_CHUNK_ROWS, _PROMPT_TOKENS + 1, _CHUNK_ROWS)
    chunks_ms = [_timed_ms(context, tokens[:end], end - _CHUNK_ROWS) for end in ends]
    context.forget(0)
    costs = solve(one_ms, chunks_ms, _CHUNK_ROWS)
    return costs if _is_likely(costs) else None


def solve(one_ms: float, chunks_ms: list[float], chunk_rows: int) -> Costs:
    """From the milliseconds of a single row, and of the chunks of a prompt. Medians, so that one call that others disturbed
    does not count; enough of them make a cost negative."""
    half = len(chunks_ms) // 2
    slopes = [later - earlier for earlier, later in zip(chunks_ms[:half], chunks_ms[half:], strict=True)]
    cell_ms = float(np.median(slopes)) / (chunk_rows * chunk_rows * half)
    near_ms, near_cells = float(np.median(chunks_ms[:half])), attended(1)
    row_ms = (near_ms - one_ms) / (chunk_rows - 1) - cell_ms * near_cells
    return Costs(call_ms=one_ms - row_ms - cell_ms * near_cells, row_ms=row_ms, cell_ms=cell_ms)


def _is_likely(costs: Costs) -> bool:
    if min(costs.call_ms, costs.row_ms, costs.cell_ms) <= 0:
        return False
    fewest, most = _CELLS_A_ROW
    return costs.call_ms < _MOST_ROWS_A_CALL * costs.row_ms and fewest < costs.row_ms / costs.cell_ms < most


def _timed_ms(context: Context, tokens: list[int], n_known: int) -> float:
    began_s = time.perf_counter()
    context.logits_behind(tokens, n_known)
    return (time.perf_counter() - began_s) * 1000
