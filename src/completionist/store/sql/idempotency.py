"""Idempotency keys in a table (contract, section 10). Blocks; the transaction is the caller's.

A row is a claim while its `answer` is null: it holds as long as its process renews it, and no longer than the process is
there to do so. With an answer it is a replay for a day.
"""

from __future__ import annotations

import zlib
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, exc, insert, select, update

from completionist import ids
from completionist.errors import IdempotencyKeyInUse, IdempotencyKeyReused
from completionist.store.base import Attempt, Settled
from completionist.store.sql.owner import is_gone, this_process
from completionist.store.sql.tables import idempotency_keys

CLAIM_S = 30
_REPLAY_S = 86_400

_columns = idempotency_keys.c


def claim(connection: Connection, attempt: Attempt) -> bytes | None:
    """Take the key: None, or the answer that it was given before.

    Raises `IdempotencyKeyInUse`, `IdempotencyKeyReused`.
    """
    row = connection.execute(select(idempotency_keys).where(_is(attempt)).with_for_update()).first()
    if row is not None and not _is_free(row):
        if row.digest != attempt.digest:
            raise IdempotencyKeyReused
        if row.answer is None:
            raise IdempotencyKeyInUse
        return zlib.decompress(row.answer)
    connection.execute(delete(idempotency_keys).where(_is(attempt)))
    try:
        connection.execute(
            insert(idempotency_keys).values(
                project=attempt.project,
                path=attempt.path,
                key=attempt.key,
                digest=attempt.digest,
                owner=this_process(),
                expires=ids.now_s() + CLAIM_S,
            )
        )
    except exc.IntegrityError:  # another one came between
        raise IdempotencyKeyInUse from None
    return None


def settle(connection: Connection, settled: Settled) -> None:
    """Keep the answer. Raises `IdempotencyKeyInUse` where the claim was lost to another process meanwhile."""
    kept = {"answer": zlib.compress(settled.answer), "expires": ids.now_s() + _REPLAY_S}
    if connection.execute(update(idempotency_keys).where(_is_mine(settled.attempt)).values(**kept)).rowcount != 1:
        raise IdempotencyKeyInUse


def release(connection: Connection, attempt: Attempt) -> None:
    """Give the key back: the request ended without an answer worth keeping."""
    connection.execute(delete(idempotency_keys).where(_is_mine(attempt)))


def renew(connection: Connection) -> None:
    """All claims of this process."""
    mine = and_(_columns.owner == this_process(), _columns.answer.is_(None))
    connection.execute(update(idempotency_keys).where(mine).values(expires=ids.now_s() + CLAIM_S))


def sweep(connection: Connection) -> None:
    connection.execute(delete(idempotency_keys).where(_columns.expires <= ids.now_s()))


def _is_free(row: Any) -> bool:  # noqa: ANN401 (a row has the columns of its table)
    return row.expires <= ids.now_s() or (row.answer is None and is_gone(row.owner))


def _is(attempt: Attempt) -> ColumnElement[bool]:
    return and_(_columns.project == attempt.project, _columns.path == attempt.path, _columns.key == attempt.key)


def _is_mine(attempt: Attempt) -> ColumnElement[bool]:
    return and_(_is(attempt), _columns.owner == this_process(), _columns.answer.is_(None))
