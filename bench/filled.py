"""Databases with as many stored completions as a scenario wants, written in bulk: only the reading is measured."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from pathlib import Path

import msgspec
from sqlalchemy import insert

from completionist.store.sql.completions import digest
from completionist.store.sql.database import Database
from completionist.store.sql.migrate import migrate
from completionist.store.sql.tables import completion_messages, completion_metadata, completions
from completionist.types.caller import DEFAULT_PROJECT

MODELS = ("small", "medium", "large")
TEAMS = 100
_BATCH = 10_000
_BEGAN = 1_790_000_000
_DOCUMENT = {
    "object": "chat.completion",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "High water is at noon, and again at midnight. " * 12},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 30, "completion_tokens": 120, "total_tokens": 150},
}
_MESSAGE = msgspec.json.encode({"role": "user", "content": "When is high water? " * 10, "refusal": None}).decode()


def id_of(number: int) -> str:
    return f"chatcmpl-{number:029d}"


def filled(directory: Path, n_rows: int) -> str:
    """The URL of a SQLite database with `n_rows`: three models, a hundred teams, ten a second."""
    url = f"sqlite:///{directory / f'{n_rows}.db'}"
    database = Database(url)
    migrate(database)
    for numbers in _batches(n_rows):
        _insert(database, numbers)
    database.close()
    return url


def _batches(n_rows: int) -> Iterator[list[int]]:
    numbers = iter(range(1, n_rows + 1))
    while batch := list(itertools.islice(numbers, _BATCH)):
        yield batch


def _insert(database: Database, numbers: list[int]) -> None:
    teams = {number: random.randrange(TEAMS) for number in numbers}  # noqa: S311 (no secret)
    with database.writing() as connection:
        connection.execute(insert(completions), [_row(number, teams[number]) for number in numbers])
        connection.execute(
            insert(completion_messages), [{"sequence": n, "position": 0, "message": _MESSAGE} for n in numbers]
        )
        connection.execute(insert(completion_metadata), [_pair(number, teams[number]) for number in numbers])


def _row(number: int, team: int) -> dict[str, object]:
    model, id_ = MODELS[number % 3], id_of(number)
    document = msgspec.json.encode({"id": id_, "model": model, "created": _created(number), **_DOCUMENT}).decode()
    return {
        "sequence": number,
        "project": DEFAULT_PROJECT,
        "id": id_,
        "created": _created(number),
        "model": model,
        "metadata": f'{{"team":"{team}"}}',
        "document": document,
    }


def _pair(number: int, team: int) -> dict[str, object]:
    return {
        "project": DEFAULT_PROJECT,
        "digest": digest("team", str(team)),
        "created": _created(number),
        "sequence": number,
        "model": MODELS[number % 3],
    }


def _created(number: int) -> int:
    return _BEGAN + number // 10
