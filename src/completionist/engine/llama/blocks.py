"""After how many tokens of a prompt it can be gone on with, so that its logits are those of a cold run bit for bit.

Some kernels take rows in blocks of 4 or 8 and what is left over one by one, with other last bits. There a prompt is continued
at a multiple of the block, by at least as many rows: each then falls into the block that it falls into in a cold run. Others
compute every row by itself. Which ones a model gets depends on its kinds of numbers, the library and the processor, so it is
tried out once and kept. (Flash attention takes calls of 64 rows and more another way besides.)
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec
import numpy as np

from completionist.engine.llama.records import read, record_of, write
from completionist.engine.llama.runner import Context

LARGEST_BLOCK_ROWS = 8
LEAST_ROWS = 2
"""A single row takes kernels of its own everywhere."""
_N_TOKENS = 29
_TAILS = {1: (2, 3, 5, 6, 7, 13), 4: (5, 9, 13)}
"""For each smaller block, how many rows are evaluated again behind what would be in memory."""


class _Found(msgspec.Struct, frozen=True):
    block_rows: int


def block_rows(context: Context, cache_dir: Path, model: Path, library: str) -> int:
    """1, 4 or 8. What `context` holds in its first stream is lost. Raises `DecodeFailed`, `OSError`."""
    record = record_of(cache_dir, "blocks", model, library, context.arithmetic())
    found = read(record, _Found)
    if found is None:
        found = _Found(_tried(context))
        with contextlib.suppress(OSError):  # then it is tried again at the next start
            write(record, found)
    return found.block_rows


def _tried(context: Context) -> int:
    rows = next((rows for rows, tails in _TAILS.items() if _are_exact(context, tails)), LARGEST_BLOCK_ROWS)
    context.forget(0)
    return rows


def _are_exact(context: Context, tails: tuple[int, ...]) -> bool:
    tokens = [7 * i % context.vocabulary_size for i in range(1, _N_TOKENS + 1)]
    cold = context.logits_behind(tokens, 0)
    return all(np.array_equal(context.logits_behind(tokens, _N_TOKENS - n_rows), cold) for n_rows in tails)
