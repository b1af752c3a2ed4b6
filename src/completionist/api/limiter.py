"""Rate limits: an estimate is reserved before anything runs, and settled with the true usage (contract, section 9.5).

A request counts with its key, with its project where that has limits, and with the end user whom it names where the
operator limits these. It is refused by the first that has too little left, and then takes nothing from any.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from completionist.api.buckets import Account, Bucket
from completionist.api.months import Months
from completionist.errors import APIError, InsufficientQuota
from completionist.errors.rates import duration
from completionist.settings import LimitSettings, SharedLimits
from completionist.types.caller import Caller
from completionist.types.limits import NO_LIMITS, Limits

MAX_ACCOUNTS = 50_000
"""Remembered. Clients choose the names of end users: beyond it those who asked longest ago begin anew."""
_GIVEN_BACK = frozenset({409, 429, 503})
"""Answers that say «not now» take nothing."""

_Name = tuple[str, ...]


class Limiter:
    """The accounts of everyone who asked lately. One per server."""

    def __init__(self, settings: LimitSettings, months: Months) -> None:
        self._months = months
        self._key = Limits(**settings.key.model_dump())
        self._project = _limits(settings.project)
        self._end_user = _limits(settings.end_user)
        self._accounts: OrderedDict[_Name, Account] = OrderedDict()

    def meter(self, caller: Caller) -> Meter:
        """Of one request."""
        return Meter(self, caller)

    def check_quota(self, caller: Caller) -> None:
        """Raises `InsufficientQuota`."""
        quotas = {
            ("key", caller.key or ""): caller.limits.or_else(self._key).tokens_per_month,
            ("project", caller.project): caller.project_limits.or_else(self._project).tokens_per_month,
        }
        for (kind, name), quota in quotas.items():
            if quota is not None and self._months.used(kind, name) >= quota:
                raise InsufficientQuota

    def accounts(self, caller: Caller, end_user: str | None) -> tuple[Account, Account | None, Account | None]:
        """Of the key, of its project and of an end user of it; None where there is no limit."""
        key = caller.key or ""
        project = caller.project_limits.or_else(self._project)
        return (
            self._account(("key", key), caller.limits.or_else(self._key)),
            self._account(("project", caller.project), project) if project != NO_LIMITS else None,
            self._account(("end user", key, end_user), self._end_user)
            if end_user is not None and self._end_user != NO_LIMITS
            else None,
        )

    def _account(self, name: _Name, limits: Limits) -> Account:
        now_s = time.monotonic()
        account = self._accounts.get(name)
        if account is None:
            self._forget(now_s)
            account = self._accounts[name] = Account(limits, now_s)
        else:
            account.adopt(limits, now_s)
            self._accounts.move_to_end(name)
        return account

    def _forget(self, now_s: float) -> None:
        """The oldest two, where they are as good as new or there are too many: so the number falls as fast as it grew."""
        for name in list(_first(self._accounts, 2)):
            if self._accounts[name].is_idle(now_s) or len(self._accounts) >= MAX_ACCOUNTS:
                del self._accounts[name]


class Meter:
    """One create call, and what it takes."""

    def __init__(self, limiter: Limiter, caller: Caller) -> None:
        self._limiter = limiter
        self._caller = caller
        self._named: str | None = None
        """The end user, once the request has been read."""
        self._look_up()
        self._taken_from: Sequence[Account] = ()
        self._n_reserved = 0

    def charge_request(self) -> None:
        """For a request that was refused as wrong."""
        now_s = time.monotonic()
        self._look_up()
        for account in (self._key, self._project):
            if account and account.requests:
                account.take(min(1, account.requests.remaining(now_s)), 0, now_s)

    @contextmanager
    def admitted(self, model: str, end_user: str | None, n_tokens: int) -> Iterator[None]:
        """Reserve, and hold the places of concurrent requests meanwhile. Raises `RateLimited`, `RequestTooLarge`,
        `InsufficientQuota`."""
        self._reserve(model, end_user, n_tokens)
        try:
            yield
        except APIError as error:
            if error.status in _GIVEN_BACK:
                self._take(-1, 0)
            self.settle(0)
            raise
        finally:
            for account in self._taken_from:
                account.n_running -= 1

    def settle(self, n_tokens: int) -> None:
        """What was reserved is `n_tokens` in truth. Once settled it stays so."""
        self._take(0, n_tokens - self._n_reserved)
        self._n_reserved = n_tokens

    def headers(self) -> list[tuple[bytes, bytes]]:
        """What is left by the tightest limits of this request, and to the project if that is limited (section 9.4)."""
        now_s = time.monotonic()
        buckets: Mapping[str, Bucket | None] = {
            "requests": _tightest([account.requests for account in self._accounts], now_s),
            "tokens": _tightest([account.tokens for account in self._accounts], now_s),
            "project-tokens": self._project.tokens if self._project else None,
        }
        return [line for name, bucket in buckets.items() if bucket for line in _lines(name, bucket, now_s)]

    @property
    def _accounts(self) -> list[Account]:
        return [account for account in (self._key, self._project, self._end_user) if account]

    def _look_up(self) -> None:
        """Anew after every wait: an account that is as good as new may have been forgotten meanwhile."""
        self._key, self._project, self._end_user = self._limiter.accounts(self._caller, self._named)

    def _reserve(self, model: str, end_user: str | None, n_tokens: int) -> None:
        self._named = end_user
        self._look_up()
        self._limiter.check_quota(self._caller)
        now_s = time.monotonic()
        accounts = self._accounts
        for account in accounts:
            if refusal := account.refusal(model, self._caller.organization, n_tokens, now_s):
                raise refusal
        self._taken_from, self._n_reserved = accounts, n_tokens
        self._take(1, n_tokens)
        for account in accounts:
            account.n_running += 1

    def _take(self, n_requests: int, n_tokens: int) -> None:
        now_s = time.monotonic()
        for account in self._taken_from:
            account.take(n_requests, n_tokens, now_s)


def _tightest(buckets: Sequence[Bucket | None], now_s: float) -> Bucket | None:
    """The one with the least left; of such the smallest."""
    limited = [bucket for bucket in buckets if bucket]
    return min(limited, key=lambda bucket: (bucket.remaining(now_s), bucket.per_minute), default=None)


def _lines(name: str, bucket: Bucket, now_s: float) -> Iterator[tuple[bytes, bytes]]:
    yield f"x-ratelimit-limit-{name}".encode(), b"%d" % bucket.per_minute
    yield f"x-ratelimit-remaining-{name}".encode(), b"%d" % bucket.remaining(now_s)
    yield f"x-ratelimit-reset-{name}".encode(), duration(bucket.reset_s(now_s)).encode()


def _limits(settings: SharedLimits) -> Limits:
    return Limits(**settings.model_dump())


def _first(names: Mapping[_Name, Account], n: int) -> Iterator[_Name]:
    return (name for name, _ in zip(names, range(n), strict=False))
