"""What calls to the library cost on this machine: the numbers that the planner cuts steps by, and the best thread count.

`completionist bench` measures them and keeps them; a start only reads them. They belong to one model file, library,
processor and quota: for anything else they are measured again.
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

    def of(self, n_rows: int, n_cells: int) -> float:
        """A call of `n_rows` rows that all attend to `n_cells` cells."""
        return self.call_ms + n_rows * (self.row_ms + self.cell_ms * n_cells)

    def rows_within(self, budget_ms: float, n_cells: int) -> float:
        """How many rows a call that attends to `n_cells` cells may have to take `budget_ms`; less than 1 for too little."""
        return (budget_ms - self.call_ms) / (self.row_ms + self.cell_ms * n_cells)


DEFAULT_COSTS = Costs(call_ms=8.0, row_ms=4.5, cell_ms=0.002)
"""Of the 135M model on two cores with AVX-512. The planner compares costs with each other only, so that until they are
measured their ratios have to do."""
_LEAST_MS = 1e-6


def solve(one: tuple[int, int, float], many: tuple[int, int, float], far: tuple[int, int, float]) -> Costs:
    """Costs from three calls, each given as its rows, the cells they attend to, and its milliseconds: one row; many rows;
    as many rows with more cells. Noise cannot make a cost negative."""
    cell_ms = max(_LEAST_MS, (far[2] - many[2]) / (far[0] * (far[1] - many[1])))
    row_ms = max(_LEAST_MS, (many[2] - one[2]) / (many[0] - one[0]) - cell_ms * many[1])
    return Costs(call_ms=max(_LEAST_MS, one[2] - row_ms - cell_ms * one[1]), row_ms=row_ms, cell_ms=cell_ms)


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
