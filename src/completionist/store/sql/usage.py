"""Usage in its table. Blocks; the transaction is the caller's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, RowMapping, func, select
from sqlalchemy.dialects import postgresql, sqlite

from completionist.store.sql.access import digest_of
from completionist.store.sql.tenant_tables import usage
from completionist.store.usage import Counts, Dimension, UsageOf, UsageQuery, UsageTotals

_COUNTS = Counts.__struct_fields__


def add(connection: Connection, rows: Sequence[tuple[UsageOf, Counts]]) -> None:
    """Counts are added to those of the same day, project, key, model and end user."""
    insert: Any = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(usage)
    sums = {name: usage.c[name] + insert.excluded[name] for name in _COUNTS}
    upsert = insert.on_conflict_do_update(index_elements=list(usage.primary_key.columns), set_=sums)
    values = [_row(of, counts) for of, counts in rows]
    order = [
        column.name for column in usage.primary_key.columns
    ]  # the same for all, or two servers wait for each other
    connection.execute(upsert, sorted(values, key=lambda row: [row[name] for name in order]))


def report(connection: Connection, query: UsageQuery) -> list[UsageTotals]:
    """Sums of what `query` asks for, in the order of what they are told apart by."""
    apart = [_columns()[dimension] for dimension in query.by]
    sums = [func.sum(usage.c[name]).label(name) for name in _COUNTS]
    # Equal digests are equal names: any of them is the name.
    names = [func.min(usage.c.end_user).label("end_user")] if "end_user" in query.by else []
    wanted = select(*apart, *names, *sums).where(*_conditions(query)).group_by(*apart).order_by(*apart)
    return [_totals(row, query.by) for row in connection.execute(wanted).mappings() if row["requests"] is not None]


def _columns() -> Mapping[Dimension, ColumnElement[Any]]:
    columns = usage.c
    return {
        "day": columns.day,
        "project": columns.project,
        "key": columns.key,
        "model": columns.model,
        "served_model": columns.served_model,
        "end_user": columns.end_user_digest,
    }


def _conditions(query: UsageQuery) -> list[ColumnElement[bool]]:
    conditions = [usage.c.day >= query.since]
    if query.until is not None:
        conditions.append(usage.c.day < query.until)
    digests = tuple(digest_of(end_user) for end_user in query.end_users)
    wanted: Mapping[Dimension, Sequence[Any]] = {
        "project": query.projects,
        "key": query.keys,
        "model": query.models,
        "end_user": digests,
    }
    return conditions + [_columns()[dimension].in_(values) for dimension, values in wanted.items() if values]


def _row(of: UsageOf, counts: Counts) -> Mapping[str, Any]:
    return {
        **msgspec.structs.asdict(of),
        **msgspec.structs.asdict(counts),
        "end_user": msgspec.json.encode(of.end_user).decode(),  # PostgreSQL's text refuses a NUL
        "end_user_digest": digest_of(of.end_user),
    }


def _totals(row: RowMapping, by: Sequence[Dimension]) -> UsageTotals:
    said: dict[str, Any] = {dimension: row[dimension] for dimension in by if dimension != "end_user"}
    if "end_user" in by:
        said["end_user"] = msgspec.json.decode(row["end_user"], type=str)
    return UsageTotals(counts=Counts(**{name: int(row[name]) for name in _COUNTS}), **said)
