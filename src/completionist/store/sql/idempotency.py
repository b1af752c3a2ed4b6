"""Idempotency keys in a table (contract, section 10). Blocks; the transaction is the caller's.

A row is a claim while its `answer` is null: it holds as long as the attempt is under way in its process, and no longer
than the process is there to renew it. With an answer it is a replay for a day.
"""

from __future__ import annotations

import zlib
from collections.abc import Set as AbstractSet
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


def claim(connection: Connection, attempt: Attempt, held: AbstractSet[int]) -> bytes | None:
    """Take the key: None, or the answer that it was given before. `held`: the attempts that this process has under way.

    Raises `IdempotencyKeyInUse`, `IdempotencyKeyReused`.
    """
    row = connection.execute(select(idempotency_keys).where(_is(attempt)).with_for_update()).first()
    if row is not None and not _is_free(row, held):
        if row.digest != attempt.digest:
            raise IdempotencyKeyReused
        if row.answer is None:
            raise IdempotencyKeyInUse
        return zlib.decompress(row.answer)
    if row is not None:  # where there was none, one that is there by now is another attempt's
        connection.execute(delete(idempotency_keys).where(_is(attempt)))
    _insert(connection, attempt, answer=None, expires=ids.now_s() + CLAIM_S)
    return None


def settle(connection: Connection, settled: Settled) -> None:
    """Keep the answer. Raises `IdempotencyKeyInUse` where the claim ran out, and another attempt took the key meanwhile."""
    answer, expires = zlib.compress(settled.answer), ids.now_s() + _REPLAY_S
    mine = update(idempotency_keys).where(_is_mine(settled.attempt))
    if connection.execute(mine.values(answer=answer, expires=expires)).rowcount != 1:
        _insert(connection, settled.attempt, answer=answer, expires=expires)


def release(connection: Connection, attempt: Attempt) -> None:
    """Give the key back: the request ended without an answer worth keeping."""
    connection.execute(delete(idempotency_keys).where(_is_mine(attempt)))


def renew(connection: Connection, held: AbstractSet[int]) -> None:
    """The claims of all attempts that this process has under way."""
    owners = [_owner(number) for number in held]
    mine = and_(_columns.owner.in_(owners), _columns.answer.is_(None))
    connection.execute(update(idempotency_keys).where(mine).values(expires=ids.now_s() + CLAIM_S))


def sweep(connection: Connection) -> None:
    connection.execute(delete(idempotency_keys).where(_columns.expires <= ids.now_s()))


def _insert(connection: Connection, attempt: Attempt, *, answer: bytes | None, expires: int) -> None:
    """Raises `IdempotencyKeyInUse` where another attempt came before."""
    try:
        connection.execute(
            insert(idempotency_keys).values(
                project=attempt.project,
                path=attempt.path,
                key=attempt.key,
                digest=attempt.digest,
                owner=_owner(attempt.number),
                answer=answer,
                expires=expires,
            )
        )
    except exc.IntegrityError:
        raise IdempotencyKeyInUse from None


def _owner(number: int) -> str:
    return f"{this_process()}/{number}"


def _is_free(row: Any, held: AbstractSet[int]) -> bool:  # noqa: ANN401 (a row has the columns of its table)
    if row.answer is not None:
        return bool(row.expires <= ids.now_s())
    process, _, number = row.owner.rpartition("/")
    if (
        process == this_process()
    ):  # what has ended could not give its claim back; what has not holds it, whatever the clock says
        return int(number) not in held
    return row.expires <= ids.now_s() or is_gone(row.owner)


def _is(attempt: Attempt) -> ColumnElement[bool]:
    return and_(_columns.project == attempt.project, _columns.path == attempt.path, _columns.key == attempt.key)


def _is_mine(attempt: Attempt) -> ColumnElement[bool]:
    return and_(_is(attempt), _columns.owner == _owner(attempt.number), _columns.answer.is_(None))
