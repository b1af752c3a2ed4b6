"""Which models of the catalogue a machine can take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from completionist.models.catalog import CatalogEntry, catalog
from completionist.models.fit import need_of

N_OFFERED = 3


def offered(free_bytes: int, entries: Mapping[str, CatalogEntry] | None = None) -> Sequence[CatalogEntry]:
    """The largest that fit into `free_bytes` of memory, at most three, the smallest first."""
    known = catalog() if entries is None else entries
    fitting = [entry for entry in known.values() if need_of(entry.size_bytes, entry.shape).total_bytes <= free_bytes]
    return sorted(fitting, key=lambda entry: entry.size_bytes)[-N_OFFERED:]
