"""Who is asking. Every request has a `Caller`, from the first byte of its answer on."""

from __future__ import annotations

from typing import Literal

import msgspec

from completionist.types.limits import NO_LIMITS, Limits
from completionist.types.scopes import SCOPES, Scope

DEFAULT_PROJECT = "default"
DEFAULT_ORGANIZATION = "default"

ServiceTier = Literal["default", "flex", "priority", "scale"]
"""As answers name it (contract 8.3)."""


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """The authenticated side of a request: state, caches and limits are kept per `project`."""

    project: str = DEFAULT_PROJECT
    organization: str = DEFAULT_ORGANIZATION
    key: str | None = None
    """The id of the key; None: nobody had to show one."""
    scopes: frozenset[Scope] = frozenset(SCOPES)
    service_tier: ServiceTier = "default"
    """What serves a request that names no tier, or `auto`."""
    limits: Limits = NO_LIMITS
    """Of the key alone, where they are not those of everyone."""
    project_limits: Limits = NO_LIMITS
    """Of all keys of the project together, likewise."""
