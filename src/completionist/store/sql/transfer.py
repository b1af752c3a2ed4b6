"""Stored completions as JSON lines, out and in again; never more than a page of them in memory.

raw           {"completion":{…},"messages":[…]}: the objects of sections 1.3 and 1.4 of the contract; what `load` reads
fine-tuning   {"messages":[…],"tools":[…]}: the conversation with its answer, a line for each choice
evaluation    {"item":{"input":[…],"metadata":{…}},"sample":{"output_text":…,…}}: a line for each choice
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from completionist.errors import InvalidRequest, OperatorError
from completionist.store.base import Filters, Page
from completionist.store.sql import completions
from completionist.store.sql.completions import Record, Retention
from completionist.store.sql.database import Database
from completionist.types.maps import METADATA

Shape = Literal["raw", "fine-tuning", "evaluation"]

_PAGE = 100
_COMMITTED = 200
_FOR_EVER = Retention(None)


class Line(NamedTuple):
    """What one completion becomes. `id`: where an export that was interrupted goes on, as its `after`."""

    id: str
    text: bytes


class NoCompletion(OperatorError):
    """A line of an import is none."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(
            f"line {number}: {reason}; the lines before it are imported, and are skipped when it comes again"
        )


def dump(database: Database, project: str, shape: Shape, filters: Filters, after: str | None = None) -> Iterator[Line]:
    """In the order of lists, oldest first. Raises `StorageUnavailable`, `CompletionNotFound` for `after`."""
    while True:
        with database.reading() as connection:
            page = completions.page(connection, project, filters, Page(after=after, limit=_PAGE), _FOR_EVER)
        for item in page.items:
            yield Line(item.id, b"".join(_lines(shape, item.json, _messages(database, project, item.id))))
        if not page.has_more:
            return
        after = page.items[-1].id


def load(database: Database, project: str, lines: Iterable[bytes]) -> Iterator[tuple[int, int]]:
    """Store raw lines in a project; what is there already is left. Yields how many were added and left so far.

    Raises `NoCompletion`, `StorageUnavailable`.
    """
    added = left = 0
    batch: list[Record] = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            batch.append(_record(line, number))
        if len(batch) == _COMMITTED:
            n_added = _add(database, project, batch)
            added, left, batch = added + n_added, left + len(batch) - n_added, []
            yield added, left
    n_added = _add(database, project, batch)
    yield added + n_added, left + len(batch) - n_added


def _messages(database: Database, project: str, id_: str) -> Iterator[bytes]:
    after = None
    while True:
        with database.reading() as connection:
            page = completions.messages(connection, project, id_, Page(after=after, limit=_PAGE), _FOR_EVER)
        yield from (item.json for item in page.items)
        if not page.has_more:
            return
        after = page.items[-1].id


def _lines(shape: Shape, completion: bytes, messages: Iterator[bytes]) -> Iterator[bytes]:
    if shape == "raw":
        yield b'{"completion":%b,"messages":[%b]}\n' % (completion, b",".join(messages))
        return
    answer = msgspec.json.decode(completion)
    conversation = [_sent(msgspec.json.decode(message)) for message in messages]
    for choice in answer["choices"]:
        shaped = (
            _to_tune(answer, conversation, choice)
            if shape == "fine-tuning"
            else _to_judge(answer, conversation, choice)
        )
        yield msgspec.json.encode(shaped) + b"\n"


def _to_tune(answer: dict[str, Any], conversation: list[Any], choice: dict[str, Any]) -> dict[str, Any]:
    tools = {"tools": answer["tools"]} if answer["tools"] else {}
    return {"messages": [*conversation, _said(choice["message"])], **tools}


def _to_judge(answer: dict[str, Any], conversation: list[Any], choice: dict[str, Any]) -> dict[str, Any]:
    message = choice["message"]
    sample = {
        "id": answer["id"],
        "model": answer["model"],
        "created": answer["created"],
        "index": choice["index"],
        "output_text": message["content"] or "",
        "output_tools": message["tool_calls"] or [],
        "finish_reason": choice["finish_reason"],
        "usage": answer["usage"],
    }
    tools = {"tools": answer["tools"]} if answer["tools"] else {}
    return {"item": {"input": conversation, "metadata": answer["metadata"], **tools}, "sample": sample}


def _sent(message: dict[str, Any]) -> dict[str, Any]:
    """A stored message as a request would carry it."""
    parts, text = message.pop("content_parts"), message.pop("content")
    del message["id"]
    content = text if parts is None else parts
    return {"role": message.pop("role"), "content": content} | {k: v for k, v in message.items() if v is not None}


def _said(message: dict[str, Any]) -> dict[str, Any]:
    kept = ("tool_calls", "function_call", "refusal")
    return {"role": "assistant", "content": message["content"]} | {
        k: message[k] for k in kept if message[k] is not None
    }


class _Raw(msgspec.Struct):
    completion: dict[str, Any]
    messages: Annotated[list[dict[str, Any]], msgspec.Meta(min_length=1)]


class _Head(msgspec.Struct):
    id: Annotated[str, msgspec.Meta(pattern="^chatcmpl-[A-Za-z0-9]{1,64}$")]
    created: Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
    model: Annotated[str, msgspec.Meta(pattern="^[^\0]+$", max_length=1024)]
    metadata: dict[str, str]


def _record(line: bytes, number: int) -> Record:
    try:
        raw = msgspec.json.decode(line, type=_Raw)
        head = msgspec.convert(raw.completion, _Head)
        metadata = METADATA.read(head.metadata, "metadata")
    except msgspec.DecodeError as error:
        raise NoCompletion(number, f"no completion in the raw shape of an export ({error})") from None
    except InvalidRequest as error:
        raise NoCompletion(number, error.message) from None
    return Record(
        id=head.id,
        created=head.created,
        model=head.model,
        metadata=metadata,
        document=_text({key: value for key, value in raw.completion.items() if key != "metadata"}),
        messages=[_text({key: value for key, value in message.items() if key != "id"}) for message in raw.messages],
    )


def _add(database: Database, project: str, records: list[Record]) -> int:
    """How many were not there."""
    with database.writing() as connection:
        known = completions.known_ids(connection, [record.id for record in records])
        new = {record.id: record for record in records if record.id not in known}
        for record in new.values():
            completions.insert_record(connection, project, record)
    return len(new)


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()
