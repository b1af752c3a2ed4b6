"""What a copy of a stream with plain memory holds: the cells of its tokens, cut and laid out as another context wants them.

    u32 n_cells · n_cells times ( i32 position · u32 1 · i32 stream )
    u32 whether values lie by columns · u32 n_layers · u32 0 · u32 0 (not 0: keys or values are rotated)
    n_layers times ( i32 type · u64 bytes of a cell's keys · keys )
    n_layers times ( i32 type · u64 bytes of a cell's values · values, cell by cell
                   | i32 type · u32 bytes of a value · u32 n_columns · values, column by column )

Flash attention reads values cell by cell, plain attention column by column. Both forms are equally long, so one is made from
the other in its place. All of this is the library's own format, so whatever looks otherwise is left as it is.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Record = NDArray[np.uint8]

_COUNT = struct.Struct("<I")
_ORDER = struct.Struct("<IIII")
_BY_CELL = struct.Struct("<iQ")
_BY_COLUMN = struct.Struct("<iII")
_CELL_BYTES = 12
_F16, _F16_BYTES = 1, 2


class _Layer(NamedTuple):
    """Keys or values of a layer."""

    start: int
    """Of its head in the record."""
    cell_bytes: int

    @property
    def first(self) -> int:
        return self.start + _BY_CELL.size


class _Layout(NamedTuple):
    n_cells: int
    is_by_column: bool
    keys: list[_Layer]
    values: list[_Layer]

    @property
    def order(self) -> int:
        """Where the record says how values lie."""
        return _COUNT.size + self.n_cells * _CELL_BYTES


def turn(record: Record) -> bool:
    """Give the values their other form. False, with nothing changed, where the record is of another kind or they are no f16."""
    layout = _layout(record)
    if layout is None:
        return False
    _, *others = _ORDER.unpack_from(record.data, layout.order)
    _ORDER.pack_into(record.data, layout.order, not layout.is_by_column, *others)
    for layer in layout.values:
        table = _table(record, layout, layer)
        n_columns = layer.cell_bytes // _F16_BYTES
        if layout.is_by_column:
            _BY_CELL.pack_into(record.data, layer.start, _F16, layer.cell_bytes)
        else:
            _BY_COLUMN.pack_into(record.data, layer.start, _F16, _F16_BYTES, n_columns)
        table.reshape(-1)[:] = table.T.ravel()  # a copy
    return True


def first_cells(record: Record, n_cells: int) -> Record | None:
    """A record of the first `n_cells` of the record's own; None where it is of another kind, or they are no f16."""
    layout = _layout(record)
    if layout is None:
        return None
    cells = record[_COUNT.size : _COUNT.size + n_cells * _CELL_BYTES]
    parts = [np.frombuffer(_COUNT.pack(n_cells), np.uint8), cells, record[layout.order : layout.order + _ORDER.size]]
    parts += [record[layer.start : layer.first + n_cells * layer.cell_bytes] for layer in layout.keys]
    for layer in layout.values:
        table = _table(record, layout, layer)
        kept = table[:, :n_cells] if layout.is_by_column else table[:n_cells]
        parts += [record[layer.start : layer.first], np.ascontiguousarray(kept).reshape(-1).view(np.uint8)]
    return np.concatenate(parts)


def _table(record: Record, layout: _Layout, layer: _Layer) -> NDArray[np.float16]:
    """The values of a layer as they lie: a view."""
    n_columns = layer.cell_bytes // _F16_BYTES
    values = record[layer.first : layer.first + layout.n_cells * layer.cell_bytes].view(np.float16)
    return values.reshape((n_columns, layout.n_cells) if layout.is_by_column else (layout.n_cells, n_columns))


def _layout(record: Record) -> _Layout | None:
    try:
        return _read(record)
    except struct.error:  # it ends before what it announces
        return None


def _read(record: Record) -> _Layout | None:
    (n_cells,) = _COUNT.unpack_from(record.data)
    at = _COUNT.size + n_cells * _CELL_BYTES
    is_by_column, n_layers, *rotations = _ORDER.unpack_from(record.data, at)
    at += _ORDER.size
    keys, values = [], []
    for _ in range(n_layers):
        keys.append(_Layer(at, _BY_CELL.unpack_from(record.data, at)[1]))
        at = keys[-1].first + n_cells * keys[-1].cell_bytes
    while at < len(record):
        if is_by_column:
            kind, value_bytes, n_columns = _BY_COLUMN.unpack_from(record.data, at)
            values.append(_Layer(at, value_bytes * n_columns))
        else:
            kind, cell_bytes = _BY_CELL.unpack_from(record.data, at)
            value_bytes = _F16_BYTES
            values.append(_Layer(at, cell_bytes))
        if (kind, value_bytes) != (_F16, _F16_BYTES):
            return None
        at = values[-1].first + n_cells * values[-1].cell_bytes
    return _Layout(n_cells, bool(is_by_column), keys, values) if at == len(record) and not any(rotations) else None
