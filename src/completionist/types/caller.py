"""Who is asking. Every request has a `Caller`, from the first byte of its answer on."""

from __future__ import annotations

from typing import Literal

import msgspec

DEFAULT_PROJECT = "default"
DEFAULT_ORGANIZATION = "default"

ServiceTier = Literal["default", "flex", "priority", "scale"]
"""As answers name it (contract 8.3)."""


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """The authenticated side of a request: state, caches and limits are kept per `project`."""

    project: str = DEFAULT_PROJECT
    organization: str = DEFAULT_ORGANIZATION
    service_tier: ServiceTier = "default"
    """What serves a request that names no tier, or `auto`."""
