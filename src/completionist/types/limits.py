"""How much a key, a project or an end user may ask for."""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """None: as the settings have it for everyone, or no limit at all."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    """Prompts and answers together, as their usage counts them."""
    concurrent_requests: int | None = None
    """Under way at the same time."""
    tokens_per_month: int | None = None
    """In a calendar month, UTC."""

    def or_else(self, other: Limits) -> Limits:
        """These, and where one is None the other's."""
        return Limits(
            requests_per_minute=_first(self.requests_per_minute, other.requests_per_minute),
            tokens_per_minute=_first(self.tokens_per_minute, other.tokens_per_minute),
            concurrent_requests=_first(self.concurrent_requests, other.concurrent_requests),
            tokens_per_month=_first(self.tokens_per_month, other.tokens_per_month),
        )


NO_LIMITS = Limits()


def _first(one: int | None, other: int | None) -> int | None:
    return other if one is None else one
