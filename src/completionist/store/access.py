"""The seam between those who judge requests and where keys, projects and blocks are kept.

What is kept changes seldom and is asked for with every request: it is read as a whole, and again once its version has
changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from completionist.types.caller import Caller
from completionist.types.limits import Limits

EVERY_PROJECT = ""
"""In the place of a project: a block counts in all of them."""


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Who has a key, and until when (Unix seconds; None: for ever)."""

    caller: Caller
    expires: int | None = None


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is kept, at one moment."""

    version: int = 0
    """Another one whenever anything has changed."""
    holders: Mapping[str, Holder] = {}
    """By the SHA-256 of the key, in hex; revoked keys are not among them."""
    has_keys: bool = False
    """Whether a key was ever made, revoked ones too: from then on everyone needs one."""
    project_limits: Mapping[str, Limits] = {}
    blocked: frozenset[tuple[str, str]] = frozenset()
    """Project, or `EVERY_PROJECT`, and end user."""


class AccessBook(Protocol):
    """Where it is kept. Both raise `StorageUnavailable`."""

    async def version(self) -> int:
        """Cheap, and asked every few seconds."""
        ...

    async def load(self) -> Access: ...
