"""An open database and everything that is kept in it. Every method is one transaction, and blocks."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from sqlalchemy import delete, insert, literal, select

from completionist import ids
from completionist.log import emit
from completionist.settings import StoreSettings
from completionist.store.base import Attempt, Filters, Item, NewCompletion, Page, Settled, Slice, Transcript
from completionist.store.sql import completions, idempotency, transcripts
from completionist.store.sql.completions import Retention
from completionist.store.sql.database import Database
from completionist.store.sql.files import FileTable
from completionist.store.sql.migrate import migrate
from completionist.store.sql.tables import REVISION, storage_probe
from completionist.types.frozen import FrozenMap

_logger = logging.getLogger(__name__)

_DAY_S = 86_400
_CURSOR_S = _DAY_S
"""How long a deleted completion keeps its place as a cursor."""
_SWEPT_ROWS = 200


class State:
    """What is kept, behind one URL."""

    def __init__(self, url: str, settings: StoreSettings) -> None:
        """Opens and migrates. Raises `StorageUnavailable`, `DatabaseRefused`."""
        self.database = Database(url)
        self.files = FileTable(self.database)
        days = settings.retention_days
        self._retention = Retention(days * _DAY_S if days else None)
        if not self.database.has_sound_wal:
            emit(
                _logger, logging.WARNING, "this SQLite has a faulty write-ahead log: the slower journal is used instead"
            )
        try:
            found = migrate(self.database)
        except BaseException:
            self.database.close()
            raise
        if found != REVISION:
            emit(_logger, logging.INFO, "database migrated", found=found or "empty", now=REVISION)

    def close(self) -> None:
        self.database.close()

    def probe(self) -> None:
        """Commit something small."""
        with self.database.writing() as connection:
            connection.execute(delete(storage_probe))
            connection.execute(insert(storage_probe).values(id=1, written=ids.now_s()))

    def ping(self) -> None:
        with self.database.reading() as connection:
            connection.execute(select(literal(1)))

    def sweep(self) -> bool:
        """Remove a batch of what has expired, files apart; whether there may be more."""
        with self.database.writing() as connection:
            idempotency.sweep(connection)
            transcripts.sweep(connection)
            return completions.sweep(connection, self._retention, _CURSOR_S, _SWEPT_ROWS) == _SWEPT_ROWS

    def add(self, new: NewCompletion, settled: Settled | None) -> None:
        with self.database.writing() as connection:
            completions.add(connection, new)
            if settled is not None:
                idempotency.settle(connection, settled)

    def get(self, project: str, id_: str) -> Item:
        with self.database.reading() as connection:
            return completions.get(connection, project, id_, self._retention)

    def update(self, project: str, id_: str, metadata: FrozenMap[str, str], attempt: Attempt | None) -> Item:
        with self.database.writing() as connection:
            item = completions.replace_metadata(connection, project, id_, metadata, self._retention)
            if attempt is not None:
                idempotency.settle(connection, Settled(attempt, item.json))
            return item

    def delete(self, project: str, id_: str, settled: Settled | None) -> None:
        with self.database.writing() as connection:
            completions.remove(connection, project, id_, self._retention)
            if settled is not None:
                idempotency.settle(connection, settled)

    def list(self, project: str, filters: Filters, page: Page) -> Slice[Item]:
        with self.database.reading() as connection:
            return completions.page(connection, project, filters, page, self._retention)

    def messages(self, project: str, id_: str, page: Page) -> Slice[Item]:
        with self.database.reading() as connection:
            return completions.messages(connection, project, id_, page, self._retention)

    def keep_transcripts(self, project: str, kept: Sequence[Transcript]) -> None:
        with self.database.writing() as connection:
            transcripts.add(connection, project, kept)

    def transcript(self, project: str, id_: str) -> str | None:
        with self.database.reading() as connection:
            return transcripts.get(connection, project, id_)

    def claim(self, attempt: Attempt, held: AbstractSet[int]) -> bytes | None:
        with self.database.writing() as connection:
            return idempotency.claim(connection, attempt, held)

    def settle(self, settled: Settled) -> None:
        with self.database.writing() as connection:
            idempotency.settle(connection, settled)

    def release(self, attempt: Attempt) -> None:
        with self.database.writing() as connection:
            idempotency.release(connection, attempt)

    def renew(self, held: AbstractSet[int]) -> None:
        """Keep the claims of attempts that are under way."""
        with self.database.writing() as connection:
            idempotency.renew(connection, held)
