"""What calls to the library cost on this machine: the numbers that the planner cuts steps by, and the best thread count.

`completionist bench` measures both and keeps them. They belong to one model file, library, processor and quota: for anything
else they are measured again.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from completionist.engine.llama.records import read, record_of, write

_KIND = "costs"


class Costs(msgspec.Struct, frozen=True):
    """What a call costs, in milliseconds."""

    call_ms: float
    """One more evaluation."""
    row_ms: float
    """One more row in it."""
    cell_ms: float
    """One row attending to one more cell."""
    chunk_factor: float = 1.0
    """Chunks of prompts take so many times what their rows cost."""
    decode_factor: float = 1.0
    """Decodes take so many times what their rows cost, compared with chunks of prompts."""

    def of(self, n_rows: int, n_cells: int) -> float:
        """A call of `n_rows` rows that all attend to `n_cells` cells."""
        return self.call_ms + n_rows * (self.row_ms + self.cell_ms * n_cells)

    def rows_within(self, budget_ms: float, n_cells: int) -> float:
        """How many rows a call that attends to `n_cells` cells may have to take `budget_ms`; less than 1 for too little."""
        return (budget_ms - self.call_ms) / (self.row_ms + self.cell_ms * n_cells)


DEFAULT_COSTS = Costs(call_ms=8.0, row_ms=4.5, cell_ms=0.002)
"""Of the 135M model on two cores with AVX-512. Where nothing was measured their ratios have to do, and the first chunk of a
prompt tells how long they are."""


class Measured(msgspec.Struct, frozen=True):
    """What is kept."""

    threads: int
    """The fastest count."""
    costs: Costs
    """With that count."""


def kept(cache_dir: Path, model: Path, library: str) -> Measured | None:
    """What was measured for this model file with the library so described, on this machine; None before that."""
    try:
        return read(record_of(cache_dir, _KIND, model, library), Measured)
    except OSError:
        return None


def keep(cache_dir: Path, model: Path, library: str, measured: Measured) -> None:
    """Replace what was kept. Raises `OSError`."""
    write(record_of(cache_dir, _KIND, model, library), measured)
