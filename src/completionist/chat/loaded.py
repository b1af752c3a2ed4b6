"""A model in memory, as whoever looks after a server sees it."""

from __future__ import annotations

from typing import Literal

import msgspec

from completionist.engine.base import ModelCard


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """A model in memory, or on its way into it or out of it."""

    name: str
    state: Literal["loading", "loaded", "leaving"]
    card: ModelCard | None
    """None while it is being loaded."""
    pid: int | None
    """Of its worker; None where it has none."""
    n_requests: int
    """That are being answered, or wait for it."""
    n_running: int
    """Sequences that hold streams."""
    n_waiting: int
    """Sequences in the queue."""
    loaded_at_s: int | None
    """Unix seconds; None while it is being loaded."""
    keeps_s: float | None
    """How long it stays if nobody asks; None: for as long as somebody asks, or for ever."""
    is_kept: bool
    """It stays for ever."""
