"""What calls to the library cost with one context, measured with a chunk of a prompt at its beginning and one further on.

The first start with a model file does it, unless something else goes on in the server: it takes as long as 640 tokens of a
prompt. What is found is kept. `completionist bench` measures on purpose, and what it kept goes first.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from completionist.engine.llama.calls import CELL_STEP, attended
from completionist.engine.llama.costs import DEFAULT_COSTS, Costs
from completionist.engine.llama.records import read, record_of, write
from completionist.engine.llama.runner import Context

_CHUNK_ROWS = 64
_FAR_CELLS = CELL_STEP
"""So many more than at the beginning are attended to further on."""
PROMPT_TOKENS = _FAR_CELLS + _CHUNK_ROWS
"""Streams must be as long as this."""
_REPEATS = 3
"""The fastest counts: others can only make a call slower."""
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
    """None where it would take too long, streams are too short or give nothing back, or others used the machine too much.
    What `context` holds in its first stream is lost. Raises `DecodeFailed`."""
    if not context.is_movable or context.stream_tokens < PROMPT_TOKENS:
        return None
    tokens = [7 * i % context.vocabulary_size for i in range(1, PROMPT_TOKENS + 1)]
    costs = _of_calls(context, tokens) if _fastest_ms(context, tokens[:1], 0) <= _LONGEST_ROW_MS else None
    context.forget(0)
    return costs if costs and _is_likely(costs) else None


def _of_calls(context: Context, tokens: list[int]) -> Costs:
    context.logits_behind(tokens[:_FAR_CELLS], 0)
    far_ms = _fastest_ms(context, tokens, _FAR_CELLS)
    near_ms = _fastest_ms(context, tokens[:_CHUNK_ROWS], 0)
    one_ms = _fastest_ms(context, tokens[:1], 0)  # last: by now the server has started, which took processors
    return solve(one_ms, near_ms, far_ms)


def solve(one_ms: float, near_ms: float, far_ms: float) -> Costs:
    """From the milliseconds of a single row, of a chunk at the beginning and of one further on. Calls that others disturbed can
    make a cost negative."""
    cell_ms = (far_ms - near_ms) / (_CHUNK_ROWS * _FAR_CELLS)
    near_cells_ms = cell_ms * attended(1)
    row_ms = (near_ms - one_ms) / (_CHUNK_ROWS - 1) - near_cells_ms
    return Costs(call_ms=one_ms - row_ms - near_cells_ms, row_ms=row_ms, cell_ms=cell_ms)


def _is_likely(costs: Costs) -> bool:
    if min(costs.call_ms, costs.row_ms, costs.cell_ms) <= 0:
        return False
    fewest, most = _CELLS_A_ROW
    return costs.call_ms < _MOST_ROWS_A_CALL * costs.row_ms and fewest < costs.row_ms / costs.cell_ms < most


def _fastest_ms(context: Context, tokens: list[int], n_known: int) -> float:
    """To evaluate the `tokens` behind the first `n_known`."""
    calls_ms = []
    for _ in range(_REPEATS):
        began_s = time.perf_counter()
        context.logits_behind(tokens, n_known)
        calls_ms.append((time.perf_counter() - began_s) * 1000)
    return min(calls_ms)
