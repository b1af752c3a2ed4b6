"""More than a key, a project or an end user may ask for (contract, section 9.5)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from completionist.errors.access import KEYS_PLACE
from completionist.errors.base import APIError

_MAX_RETRY_AFTER_S = 120.0
"""Clients do not come again by themselves after more than that."""


class Asked(NamedTuple):
    """Which limit was reached, and by how much."""

    model: str
    organization: str
    limit: int
    used: int
    requested: int
    wait_s: float
    """Until it would be enough."""

    @property
    def where(self) -> str:
        return f"for {self.model} in organization {self.organization}"


class RateLimited(APIError):
    """Heals with time: tells how long."""

    status = 429
    type = "requests"
    code = "rate_limit_exceeded"
    measure = "requests per min (RPM)"

    def __init__(self, asked: Asked) -> None:
        self.retry_after_s = min(_MAX_RETRY_AFTER_S, max(0.001, asked.wait_s))
        super().__init__(
            f"Rate limit reached {asked.where} on {self.measure}: Limit {asked.limit}, Used {asked.used}, "
            f"Requested {asked.requested}. Please try again in {duration(self.retry_after_s)}. "
            f"Visit {KEYS_PLACE} to learn more."
        )

    @property
    def headers(self) -> Mapping[str, str]:
        return {
            "retry-after": str(math.ceil(self.retry_after_s)),
            "retry-after-ms": str(math.ceil(1000 * self.retry_after_s)),
        }


class TokensLimited(RateLimited):
    type = "tokens"
    measure = "tokens per min (TPM)"


class ConcurrencyLimited(RateLimited):
    """Too many under way at the same time; nobody knows when one of them will end."""

    measure = "concurrent requests"


class RequestTooLarge(APIError):
    """It asks for more than there ever is."""

    status = 429
    type = "tokens"
    code = "rate_limit_exceeded"

    def __init__(self, asked: Asked) -> None:
        super().__init__(
            f"Request too large {asked.where} on tokens per min (TPM): Limit {asked.limit}, Requested {asked.requested}. The "
            f"input or output tokens must be reduced in order to run successfully. Visit {KEYS_PLACE} to learn more."
        )

    @property
    def headers(self) -> Mapping[str, str]:
        return {"x-should-retry": "false"}


class InsufficientQuota(APIError):
    """What a key or its project may use in a month is used up: coming again does not help."""

    status = 429
    type = "insufficient_quota"
    code = "insufficient_quota"

    def __init__(self) -> None:
        super().__init__(
            "You exceeded your current quota, please check your plan and billing details. For more information on this error, "
            f"ask {KEYS_PLACE}."
        )

    @property
    def headers(self) -> Mapping[str, str]:
        return {"x-should-retry": "false"}


def duration(seconds: float) -> str:
    """As Go writes it: `0s`, `12ms`, `51.174s`, `6m0s`, `1m30.5s`, `6h40m0s` (section 9.4)."""
    ms = math.ceil(1000 * seconds)
    if ms < 1000:
        return f"{ms}ms" if ms else "0s"
    minutes, ms = divmod(ms, 60_000)
    rest = f"{ms / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    if minutes == 0:
        return rest
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{rest}" if hours else f"{minutes}m{rest}"
