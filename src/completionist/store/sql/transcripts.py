"""The words of answers that were spoken, for as long as they can be named. Runs inside a transaction of its caller."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, delete, insert, select

from completionist import ids
from completionist.store.base import Transcript
from completionist.store.sql.tables import transcripts


def add(connection: Connection, project: str, kept: Sequence[Transcript]) -> None:
    """As JSON, which writes what a database refuses as an escape."""
    rows = [
        {"id": it.id, "project": project, "text": msgspec.json.encode(it.text).decode(), "expires_at": it.expires_at}
        for it in kept
    ]
    connection.execute(insert(transcripts), rows)


def get(connection: Connection, project: str, id_: str) -> str | None:
    """None: unknown, expired, or another project's."""
    if not ids.is_speech_id(id_):
        return None
    is_this = (transcripts.c.id == id_) & (transcripts.c.project == project) & (transcripts.c.expires_at > ids.now_s())
    text: str | None = connection.execute(select(transcripts.c.text).where(is_this)).scalar()
    return None if text is None else msgspec.json.decode(text, type=str)


def sweep(connection: Connection) -> None:
    """Remove what has expired."""
    connection.execute(delete(transcripts).where(transcripts.c.expires_at <= ids.now_s()))
