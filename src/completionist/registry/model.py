"""A model that can be loaded, and one that is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Protocol

import msgspec

from completionist.chat.deltas import ChatBackend
from completionist.chat.profiles import OPEN, Profile
from completionist.engine.launch import Beside
from completionist.metrics import HasLoad


class RunningEngine(HasLoad, Protocol):
    """What is looked at of the engine of a loaded model."""

    @property
    def pid(self) -> int | None:
        """The process that holds the model; None where there is none."""
        ...

    def rest(self, *, is_wanted: bool) -> None:
        """Leave time between its steps to a model that is loaded beside it, or no longer."""
        ...


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """A loaded model."""

    backend: ChatBackend
    engine: RunningEngine
    close: Callable[[], Awaitable[None]]
    """Lets go of all of it."""


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model that can be loaded."""

    name: str
    version: Hashable
    """Another one where the model under this name is another one than before."""
    created: int
    """Unix seconds: when it came here."""
    owned_by: str
    profile: Profile = OPEN
    keep_alive_s: float
    """How long it stays loaded after its last answer; infinity: for ever."""
    directory: str = ""
    """Where its file is, which is no client's business."""
    need_bytes: int = 0
    """The least memory that it can be loaded into, as far as that is known beforehand."""
    start: Callable[[Beside], Awaitable[Running]]
    """Load it beside what others do. Raises `OperatorError` or `OSError`, whose text is for the operator."""
