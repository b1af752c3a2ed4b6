"""Who is asking. Every request has a `Caller`, from the first byte of its answer on."""

from __future__ import annotations

import msgspec

DEFAULT_PROJECT = "default"
DEFAULT_ORGANIZATION = "default"


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """The authenticated side of a request: state, caches and limits are kept per `project`."""

    project: str = DEFAULT_PROJECT
    organization: str = DEFAULT_ORGANIZATION
