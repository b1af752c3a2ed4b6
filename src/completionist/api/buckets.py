"""Rates and concurrency of one key, project or end user: what is left, and what a refusal says (contract, section 9.5)."""

from __future__ import annotations

import math

from completionist.errors import APIError, ConcurrencyLimited, RateLimited, RequestTooLarge, TokensLimited
from completionist.errors.rates import Asked
from completionist.types.limits import Limits

_CONCURRENCY_RETRY_S = 1.0
"""When one of the requests under way may have ended."""


class Bucket:
    """Filled continuously, a sixtieth of `per_minute` a second. What turned out to be more than was taken overdraws it."""

    def __init__(self, per_minute: int, now_s: float) -> None:
        self.per_minute = per_minute
        self._level = float(per_minute)
        self._at_s = now_s

    def level(self, now_s: float) -> float:
        filled = self._level + (now_s - self._at_s) * self.per_minute / 60
        self._level, self._at_s = min(filled, self.per_minute), now_s
        return self._level

    def take(self, amount: float, now_s: float) -> None:
        """A negative amount gives back."""
        self._level = min(self.level(now_s) - amount, self.per_minute)

    def resize(self, per_minute: int, now_s: float) -> None:
        """What was used stays used."""
        if per_minute != self.per_minute:
            self._level = self.level(now_s) - self.per_minute + per_minute
            self.per_minute = per_minute

    def remaining(self, now_s: float) -> int:
        return max(0, math.floor(self.level(now_s)))

    def wait_s(self, amount: float, now_s: float) -> float:
        """Until `amount` is there."""
        return max(0.0, amount - self.level(now_s)) * 60 / self.per_minute

    def reset_s(self, now_s: float) -> float:
        """Until it is full."""
        return self.wait_s(self.per_minute, now_s)


class Account:
    """What one of those who are limited has used."""

    def __init__(self, limits: Limits, now_s: float) -> None:
        self.requests: Bucket | None = None
        self.tokens: Bucket | None = None
        self.n_running = 0
        self._max_running: int | None = None
        self.adopt(limits, now_s)

    def adopt(self, limits: Limits, now_s: float) -> None:
        """Limits may change while requests run."""
        self.requests = _resized(self.requests, limits.requests_per_minute, now_s)
        self.tokens = _resized(self.tokens, limits.tokens_per_minute, now_s)
        self._max_running = limits.concurrent_requests

    def refusal(self, model: str, organization: str, n_tokens: int, now_s: float) -> APIError | None:
        """Why one more request that takes `n_tokens` cannot be taken on. Takes nothing."""

        def asked(limit: int, used: int, requested: int, wait_s: float) -> Asked:
            return Asked(model, organization, limit, used, requested, wait_s)

        if self.requests and (wait_s := self.requests.wait_s(1, now_s)):
            limit = self.requests.per_minute
            return RateLimited(asked(limit, limit - self.requests.remaining(now_s), 1, wait_s))
        if self.tokens:
            limit = self.tokens.per_minute
            used = limit - math.floor(self.tokens.level(now_s))
            if n_tokens > limit:
                return RequestTooLarge(asked(limit, used, n_tokens, 0))
            if wait_s := self.tokens.wait_s(n_tokens, now_s):
                return TokensLimited(asked(limit, used, n_tokens, wait_s))
        if self._max_running is not None and self.n_running >= self._max_running:
            return ConcurrencyLimited(asked(self._max_running, self.n_running, 1, _CONCURRENCY_RETRY_S))
        return None

    def take(self, n_requests: int, n_tokens: int, now_s: float) -> None:
        """Negative numbers give back."""
        if self.requests:
            self.requests.take(n_requests, now_s)
        if self.tokens:
            self.tokens.take(n_tokens, now_s)

    def is_idle(self, now_s: float) -> bool:
        """As if it had never asked."""
        buckets = [bucket for bucket in (self.requests, self.tokens) if bucket]
        return self.n_running == 0 and not any(bucket.reset_s(now_s) for bucket in buckets)


def _resized(bucket: Bucket | None, per_minute: int | None, now_s: float) -> Bucket | None:
    if per_minute is None:
        return None
    if bucket is None:
        return Bucket(per_minute, now_s)
    bucket.resize(per_minute, now_s)
    return bucket
