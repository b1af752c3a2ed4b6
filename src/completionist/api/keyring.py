"""All keys that are good, those of the settings and those of the database, known without asking it for each request.

What the database says is read again within seconds of a change, whoever made it. As long as it has never been read,
nobody but a holder of a key in the settings can be let in: it may say that a key is needed.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Sequence

import msgspec

from completionist import ids
from completionist.errors import IncorrectKey, StorageUnavailable
from completionist.log import emit
from completionist.settings import KeySettings
from completionist.store.access import EVERY_PROJECT, Access, AccessBook, Holder
from completionist.types.caller import Caller
from completionist.types.limits import NO_LIMITS, Limits

_logger = logging.getLogger(__name__)

REFRESH_S = 2.0
"""How long a revoked key may go on working, and as long as it takes to read the others."""


class Keyring:
    """Who holds which key, and who is blocked. `start` it, and `close` it at the end."""

    def __init__(self, configured: Sequence[KeySettings], book: AccessBook) -> None:
        self._configured = {key.sha256: _holder(key) for key in configured}
        self._book = book
        self._access: Access | None = None
        self._needs_key = bool(configured)
        self._refreshing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read the database, and go on doing so."""
        await self._refresh()
        self._refreshing = asyncio.create_task(self._refresh_for_ever())

    async def close(self) -> None:
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)

    @property
    def needs_key(self) -> bool:
        """Whether anybody must show a key; once so, it stays so. Raises `StorageUnavailable` where that is not known."""
        if not self.must_show_one:
            return False
        if not self._needs_key:
            raise StorageUnavailable
        return True

    @property
    def must_show_one(self) -> bool:
        """Whether nobody gets in without a key, be it that the database cannot be asked."""
        return self._needs_key or self._access is None

    @property
    def n_good(self) -> int:
        """Keys that would let somebody in, as far as is known; expired ones count until the next change."""
        return len(self._configured) + (len(self._access.holders) if self._access else 0)

    def anyone(self) -> Caller:
        """Who asks where nobody needs a key."""
        return self._with_project_limits(Caller())

    def holder(self, key: str) -> Caller:
        """Who has `key`. Raises `IncorrectKey`, `StorageUnavailable` where it is not known."""
        sha256 = hashlib.sha256(key.encode("latin-1")).hexdigest()
        # A digest is looked up: how long that takes says nothing about a key.
        if found := self._configured.get(sha256):
            return self._with_project_limits(found.caller)
        if self._access is None:
            raise StorageUnavailable
        found = self._access.holders.get(sha256)
        if found is None or (found.expires is not None and found.expires <= ids.now_s()):
            raise IncorrectKey(key)
        return found.caller

    def is_blocked(self, project: str, end_user: str) -> bool:
        if self._access is None or not self._access.blocked:
            return False
        return bool({(project, end_user), (EVERY_PROJECT, end_user)} & self._access.blocked)

    def _with_project_limits(self, caller: Caller) -> Caller:
        limits = self._access.project_limits.get(caller.project) if self._access else None
        return msgspec.structs.replace(caller, project_limits=limits) if limits else caller

    async def _refresh_for_ever(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_S)
            await self._refresh()

    async def _refresh(self) -> None:
        try:
            if self._access is not None and await self._book.version() == self._access.version:
                return
            self._access = await self._book.load()
        except StorageUnavailable:
            return  # what was known still counts
        except Exception as error:  # noqa: BLE001 (keys must go on being refreshed, whatever is wrong with a row)
            emit(_logger, logging.ERROR, "the keys in the database cannot be read", reason=repr(error))
            return
        self._needs_key = self._needs_key or self._access.has_keys


def _holder(key: KeySettings) -> Holder:
    limits = Limits(
        requests_per_minute=key.requests_per_minute,
        tokens_per_minute=key.tokens_per_minute,
        concurrent_requests=key.concurrent_requests,
        tokens_per_month=key.tokens_per_month,
    )
    return Holder(
        caller=Caller(
            project=key.project,
            organization=key.organization,
            key=key.id,
            scopes=frozenset(key.scopes),
            service_tier=key.service_tier,
            limits=limits,
            project_limits=NO_LIMITS,
        )
    )
