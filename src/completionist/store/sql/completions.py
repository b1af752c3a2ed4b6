"""Stored completions in tables. Blocks; the transaction is the caller's."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, cast

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Row,
    Select,
    and_,
    bindparam,
    delete,
    exists,
    insert,
    literal,
    select,
    tuple_,
    update,
)

from completionist import ids
from completionist.errors import CompletionNotFound
from completionist.store.base import Filters, Item, NewCompletion, Page, Slice
from completionist.store.sql.tables import (
    completion_messages,
    completion_metadata,
    completions,
    deleted_completions,
)
from completionist.types.frozen import FrozenMap
from completionist.types.stored import document, input_message, with_id, with_metadata

_SHOWN = (completions.c.id, completions.c.document, completions.c.metadata)
_DIGEST_BYTES = 16
_READ_ROWS = 25
"""Of a page at once."""
_PAGE_BYTES = 8 * 2**20
"""Beyond which a page ends, so that a hundred long answers are not in memory together."""

# Statements of every request are built once: building one takes longer than running it.
_INSERT = insert(completions)
_INSERT_MESSAGES = insert(completion_messages)
_INSERT_METADATA = insert(completion_metadata)
_LIVING = select(completions).where(
    completions.c.id == bindparam("id"),
    completions.c.project == bindparam("project"),
    completions.c.created >= bindparam("oldest"),
)
_LIVING_TO_CHANGE = _LIVING.with_for_update()


class Place(NamedTuple):
    """Where a completion stands in the order of lists. Rows of one second stand as they were inserted."""

    created: int
    sequence: int


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A completion as its rows hold it: `document` and `messages` as `types.stored` writes them."""

    id: str
    created: int
    model: str
    metadata: FrozenMap[str, str]
    document: str
    messages: list[str]


class Retention(NamedTuple):
    """How long completions are kept, from their creation on; None: for ever."""

    seconds: int | None

    def oldest(self) -> int:
        """The `created` that a row must have to be there."""
        return -1 if self.seconds is None else ids.now_s() - self.seconds


def add(connection: Connection, new: NewCompletion) -> None:
    completion, request = new.completion, new.request
    record = Record(
        id=completion.id,
        created=completion.created,
        model=completion.model,
        metadata=request.metadata or FrozenMap({}),
        document=document(request, completion, new.request_id),
        messages=[input_message(message) for message in request.messages],
    )
    insert_record(connection, new.project, record)


def insert_record(connection: Connection, project: str, record: Record) -> None:
    row = {
        "project": project,
        "id": record.id,
        "created": record.created,
        "model": record.model,
        "metadata": _json(record.metadata),
        "document": record.document,
    }
    inserted = connection.execute(_INSERT, row)
    sequence = cast("Any", inserted.inserted_primary_key)[0]
    messages = [
        {"sequence": sequence, "position": position, "message": message}
        for position, message in enumerate(record.messages)
    ]
    connection.execute(_INSERT_MESSAGES, messages)
    _add_metadata(connection, project, record.model, Place(record.created, sequence), record.metadata)


def get(connection: Connection, project: str, id_: str, retention: Retention) -> Item:
    row = _living(connection, project, id_, retention)
    return Item(row.id, with_metadata(row.document, row.metadata))


def replace_metadata(
    connection: Connection, project: str, id_: str, metadata: FrozenMap[str, str], retention: Retention
) -> Item:
    row = _living(connection, project, id_, retention, to_change=True)
    text = _json(metadata)
    place = Place(row.created, row.sequence)
    connection.execute(update(completions).where(completions.c.sequence == place.sequence).values(metadata=text))
    connection.execute(delete(completion_metadata).where(completion_metadata.c.sequence == place.sequence))
    _add_metadata(connection, project, row.model, place, metadata)
    return Item(id_, with_metadata(row.document, text))


def remove(connection: Connection, project: str, id_: str, retention: Retention) -> None:
    """Delete a completion with all that belongs to it; only its place in the order is kept for a while."""
    row = _living(connection, project, id_, retention, to_change=True)
    _remove(connection, [row])


def page(connection: Connection, project: str, filters: Filters, page_: Page, retention: Retention) -> Slice[Item]:
    """Raises `CompletionNotFound` where `page_.after` never was in the list."""
    places = _places(project, filters)
    table = places.get_final_froms()[0]
    places = places.where(_range(connection, project, page_, retention, table))
    direction = [
        column.asc() if page_.order == "asc" else column.desc() for column in (table.c.created, table.c.sequence)
    ]
    found = connection.execute(places.order_by(*direction).limit(page_.limit + 1)).all()
    return _filled(_shown(connection, [place.sequence for place in found[: page_.limit]]), len(found))


def messages(connection: Connection, project: str, id_: str, page_: Page, retention: Retention) -> Slice[Item]:
    row = _living(connection, project, id_, retention)
    position = completion_messages.c.position
    wanted = select(position, completion_messages.c.message).where(completion_messages.c.sequence == row.sequence)
    if page_.after is not None:
        after = _position(connection, row.sequence, id_, page_.after)
        wanted = wanted.where(position > after if page_.order == "asc" else position < after)
    ordered = wanted.order_by(position.asc() if page_.order == "asc" else position.desc())
    rows = connection.execute(ordered.limit(page_.limit + 1)).all()
    items = ((f"{id_}-{row.position}", row.message) for row in rows[: page_.limit])
    return _filled((Item(item_id, with_id(message, item_id)) for item_id, message in items), len(rows))


def conversations(connection: Connection, ids_: Sequence[str]) -> dict[str, list[bytes]]:
    """The input messages of several completions, as they go out."""
    found: dict[str, list[bytes]] = {id_: [] for id_ in ids_}
    wanted = (
        select(completions.c.id, completion_messages.c.position, completion_messages.c.message)
        .join(completion_messages, completion_messages.c.sequence == completions.c.sequence)
        .where(completions.c.id.in_(ids_))
        .order_by(completion_messages.c.sequence, completion_messages.c.position)
    )
    for row in connection.execute(wanted):
        found[row.id].append(with_id(row.message, f"{row.id}-{row.position}"))
    return found


def sweep(connection: Connection, retention: Retention, cursor_s: int, max_rows: int) -> int:
    """Remove up to `max_rows` expired completions, and places of deleted ones older than `cursor_s`; how many."""
    expired = select(completions).where(completions.c.created < retention.oldest()).order_by(completions.c.created)
    rows = connection.execute(expired.limit(max_rows).with_for_update(skip_locked=True)).all()  # others sweep too
    _remove(connection, rows)
    stale = select(deleted_completions.c.id).where(deleted_completions.c.deleted < ids.now_s() - cursor_s)
    names = connection.execute(stale.limit(max_rows)).scalars().all()
    connection.execute(delete(deleted_completions).where(deleted_completions.c.id.in_(names)))
    return max(len(rows), len(names))


def owners(connection: Connection, ids_: Sequence[str]) -> dict[str, str]:
    """The projects of those of them that are taken."""
    wanted = select(completions.c.id, completions.c.project).where(completions.c.id.in_(ids_))
    return {row.id: row.project for row in connection.execute(wanted)}


def forget_places(connection: Connection, ids_: Sequence[str]) -> None:
    """Of completions that were deleted, and are to be there again."""
    connection.execute(delete(deleted_completions).where(deleted_completions.c.id.in_(ids_)))


def digest(key: str, value: str) -> bytes:
    """Of one metadata pair."""
    return hashlib.blake2b(f"{len(key)}:{key}{value}".encode(), digest_size=_DIGEST_BYTES).digest()


def searchable(text: str) -> str:
    """`text`, or where PostgreSQL could not hold it one that stands in no row."""
    return "" if "\0" in text else text


def _shown(connection: Connection, sequences: Sequence[int]) -> Iterator[Item | None]:
    """In this order; None for what has just been deleted."""
    for begin in range(0, len(sequences), _READ_ROWS):
        wanted = sequences[begin : begin + _READ_ROWS]
        rows = connection.execute(select(completions.c.sequence, *_SHOWN).where(completions.c.sequence.in_(wanted)))
        items = {row.sequence: Item(row.id, with_metadata(row.document, row.metadata)) for row in rows}
        yield from map(items.get, wanted)


def _filled(items: Iterable[Item | None], n_found: int) -> Slice[Item]:
    """A page of them; of `n_found` one more than wanted shows that more follow. Long ones fill a page before its limit."""
    taken: list[Item] = []
    n_seen = n_bytes = 0
    for item in items:
        n_seen += 1
        if item is not None:
            taken.append(item)
            n_bytes += len(item.json)
        if n_bytes > _PAGE_BYTES:
            break
    return Slice(tuple(taken), n_found > n_seen)


def _living(
    connection: Connection, project: str, id_: str, retention: Retention, *, to_change: bool = False
) -> Row[Any]:
    """Raises `CompletionNotFound`."""
    known = {"id": searchable(id_), "project": project, "oldest": retention.oldest()}
    row = connection.execute(_LIVING_TO_CHANGE if to_change else _LIVING, known).first()
    if row is None:
        raise CompletionNotFound(id_)
    return row


def _range(
    connection: Connection, project: str, page_: Page, retention: Retention, table: FromClause
) -> ColumnElement[bool]:
    """One lower bound at most: of two, SQLite would begin its search at either."""
    oldest = Place(retention.oldest(), 0)
    after = None if page_.after is None else _place(connection, project, page_.after)
    place = tuple_(table.c.created, table.c.sequence)
    if after is None:
        return place >= tuple_(*map(literal, oldest))
    if page_.order == "asc":
        return place > tuple_(*map(literal, max(oldest, after)))
    return and_(place >= tuple_(*map(literal, oldest)), place < tuple_(*map(literal, after)))


def _places(project: str, filters: Filters) -> Select[Any]:
    """What matches, read from one index: that of the first metadata pair where there is one."""
    if not filters.metadata:
        found = select(completions.c.created, completions.c.sequence)
        found = found.where(completions.c.project == project)
        return found if filters.model is None else found.where(completions.c.model == searchable(filters.model))
    first, *others = (digest(key, value) for key, value in filters.metadata)
    table = completion_metadata.alias("first_pair")
    found = select(table.c.created, table.c.sequence)
    found = found.where(table.c.project == project, table.c.digest == first)
    if filters.model is not None:
        found = found.where(table.c.model == searchable(filters.model))
    for n, other in enumerate(others):
        pair = completion_metadata.alias(f"pair_{n}")
        found = found.where(
            exists().where(
                pair.c.project == project,
                pair.c.digest == other,
                pair.c.created == table.c.created,
                pair.c.sequence == table.c.sequence,
            )
        )
    return found


def _place(connection: Connection, project: str, id_: str) -> Place:
    for table in (completions, deleted_completions):
        wanted = select(table.c.created, table.c.sequence).where(
            table.c.id == searchable(id_), table.c.project == project
        )
        if row := connection.execute(wanted).first():
            return Place(*row)
    raise CompletionNotFound(id_)


def _position(connection: Connection, sequence: int, id_: str, after: str) -> int:
    """Of the message with the id `after`. Raises `CompletionNotFound`."""
    number = after.removeprefix(f"{id_}-")
    is_number = number != after and number.isascii() and number.isdecimal() and len(number) < 10
    if is_number and number == str(int(number)):
        table = completion_messages.c
        known = select(table.position).where(table.sequence == sequence, table.position == int(number))
        if connection.execute(known).first():
            return int(number)
    raise CompletionNotFound(after)


def _remove(connection: Connection, rows: Iterable[Any]) -> None:
    now = ids.now_s()
    places = [
        {"id": row.id, "project": row.project, "created": row.created, "sequence": row.sequence, "deleted": now}
        for row in rows
    ]
    if places:
        connection.execute(insert(deleted_completions), places)
        gone = [place["sequence"] for place in places]
        connection.execute(delete(completions).where(completions.c.sequence.in_(gone)))


def _add_metadata(
    connection: Connection, project: str, model: str, place: Place, metadata: FrozenMap[str, str]
) -> None:
    pairs = [
        {"project": project, "model": model, "digest": digest(key, value), **place._asdict()}
        for key, value in metadata.items()
    ]
    if pairs:
        connection.execute(_INSERT_METADATA, pairs)


def _json(metadata: FrozenMap[str, str]) -> str:
    return msgspec.json.encode(dict(metadata)).decode()
