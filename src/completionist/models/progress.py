"""What a pull tells while it goes on, and how it ends when it is interrupted."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

import msgspec

from completionist.errors import OperatorError


class PullStopped(OperatorError):
    """Ctrl-C. `command` is what goes on from there."""

    exit_code: ClassVar[int] = 130

    def __init__(self, command: str) -> None:
        super().__init__(f"stopped; what arrived is kept: {command} goes on from there")


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a pull is. Comes at every chunk, so whoever draws it decides how often."""

    stage: Literal["waiting", "fetching", "assembling"]
    """`waiting`: another process is pulling this model."""
    done_bytes: int = 0
    total_bytes: int
    """Of all parts while fetching, of the model file while assembling."""
    part: int = 0
    """1 … `n_parts` while fetching."""
    n_parts: int


OnProgress = Callable[[Progress], None]
Say = Callable[[str], None]
"""Gets what a user is to know at once, a line each."""
