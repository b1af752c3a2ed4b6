"""How much of a prompt the prefix cache may give and keep, and for how long (contract 8.2, 13.5)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

from completionist.engine.base import MAX_BREAKPOINTS, Caching


class Lifetime(NamedTuple):
    """When an entry may go. Times are of the cache's clock, in seconds."""

    key: str | None = None
    created_s: float = 0.0
    protected_until_s: float = -math.inf
    max_age_s: float = math.inf
    max_idle_s: float = math.inf

    @property
    def is_limited(self) -> bool:
        return min(self.max_age_s, self.max_idle_s) < math.inf

    def is_protected(self, now_s: float) -> bool:
        return now_s < self.protected_until_s

    def is_over(self, now_s: float, used_s: float) -> bool:
        """A protected one is never too old: the least lifetime and the greatest do not know each other."""
        is_old = now_s - self.created_s >= self.max_age_s or now_s - used_s >= self.max_idle_s
        return is_old and not self.is_protected(now_s)


@dataclass(slots=True, frozen=True)
class Keeping:
    """What one request asks of the cache, in tokens of its prompt."""

    caching: Caching = field(default_factory=Caching)
    breakpoints: tuple[int, ...] = ()
    """Tokens before each, ascending."""

    def n_readable(self, n_tokens: int) -> int:
        """Of the first `n_tokens`, which the cache has, how many may be taken from it."""
        if not self.caching.is_explicit:
            return n_tokens
        return max((n for n in self.breakpoints[-MAX_BREAKPOINTS:] if n <= n_tokens), default=0)

    def n_kept(self, n_tokens: int, *, can_trim: bool) -> int:
        """Of a sequence of `n_tokens`, how many may stay. What cannot be cut at a breakpoint is not kept at all."""
        if not self.caching.is_explicit:
            return n_tokens
        return max((n for n in self.breakpoints if n <= n_tokens), default=0) if can_trim else 0

    def lifetime(self, now_s: float) -> Lifetime:
        """Of an entry that is made now."""
        caching = self.caching
        return Lifetime(
            key=caching.key,
            created_s=now_s,
            protected_until_s=now_s + caching.min_age_s if caching.min_age_s else -math.inf,
            max_age_s=math.inf if caching.max_age_s is None else caching.max_age_s,
            max_idle_s=math.inf if caching.max_idle_s is None else caching.max_idle_s,
        )
