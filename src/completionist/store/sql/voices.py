"""Voices of projects in their table. Blocks; the transaction is the caller's."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, RowMapping, delete, insert, select

from completionist import ids
from completionist.errors import OperatorError
from completionist.store.sql.tenant_tables import custom_voices
from completionist.store.voices import Style

_SHOWN = [column for column in custom_voices.c if column is not custom_voices.c.style]


class CustomVoice(msgspec.Struct, frozen=True, kw_only=True):
    """A voice, but for its style."""

    id: str
    project: str
    name: str
    made_of: str
    """Names and weights, or the file that it was read from."""
    is_british: bool
    gain: float
    created: int


class UnknownVoice(OperatorError):
    """There is no such voice."""

    def __init__(self, id_: str) -> None:
        super().__init__(f"there is no custom voice {id_}: completionist voices list")


def add(connection: Connection, voice: CustomVoice, numbers: bytes) -> None:
    connection.execute(insert(custom_voices).values(style=numbers, **msgspec.structs.asdict(voice)))


def style(connection: Connection, project: str, id_: str) -> Style | None:
    """None: unknown, or another project's."""
    if not ids.is_voice_id(id_):
        return None
    table = custom_voices.c
    wanted = select(table.style, table.is_british, table.gain).where(table.id == id_, table.project == project)
    row = connection.execute(wanted).first()
    return Style(numbers=bytes(row.style), is_british=row.is_british, gain=row.gain) if row else None


def list_voices(connection: Connection, project: str | None = None) -> Sequence[CustomVoice]:
    """Oldest first."""
    table = custom_voices.c
    wanted = select(*_SHOWN).order_by(table.created, table.id)
    rows = connection.execute(wanted if project is None else wanted.where(table.project == project))
    return [_voice(row) for row in rows.mappings()]


def get(connection: Connection, id_: str) -> CustomVoice:
    """Raises `UnknownVoice`."""
    row = connection.execute(select(*_SHOWN).where(custom_voices.c.id == id_)).mappings().first()
    if row is None:
        raise UnknownVoice(id_)
    return _voice(row)


def remove(connection: Connection, id_: str) -> None:
    """Raises `UnknownVoice`."""
    if connection.execute(delete(custom_voices).where(custom_voices.c.id == id_)).rowcount == 0:
        raise UnknownVoice(id_)


def _voice(row: RowMapping) -> CustomVoice:
    return CustomVoice(**row)
