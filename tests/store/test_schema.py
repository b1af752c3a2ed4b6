"""The migrations lead to the tables that the code knows, from every schema and only by one process at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from completionist.store.sql import database as database_module
from completionist.store.sql.database import Database, has_sound_wal
from completionist.store.sql.migrate import migrate, revision
from completionist.store.sql.schema import metadata
from completionist.store.sql.tables import REVISION
from tests.store.databases import KindOfDatabase
from tests.store.tenants import tenants_of

MIGRATIONS = Path(database_module.__file__).parent / "migrations"


def test_the_newest_migration_is_the_one_that_is_asked_for() -> None:
    assert ScriptDirectory(str(MIGRATIONS)).get_heads() == [REVISION]


def test_migrations_make_the_tables_that_the_code_knows(kind: KindOfDatabase) -> None:
    database = Database(kind.new_url())
    migrate(database)
    with database.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    database.close()


REVISIONS = [script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions()][::-1]


@pytest.mark.parametrize("released", REVISIONS)
def test_every_schema_that_was_released_is_brought_up_with_what_it_holds(kind: KindOfDatabase, released: str) -> None:
    url = kind.new_url()
    database = Database(url)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with database.writing() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, released)
    kind.query(url, OLD_COMPLETION)
    kind.query(url, 'INSERT INTO completion_messages VALUES (1, 0, \'{"role":"user","content":"?"}\')')
    assert migrate(database) == released
    with database.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    database.close()
    with tenants_of(url, retention_days=0) as tenants:
        assert tenants.listed() == ["chatcmpl-old"]
        assert [message.content for message in tenants.mine.chat.completions.messages.list("chatcmpl-old")] == ["?"]
        tenants.mine.chat.completions.update("chatcmpl-old", metadata={"a": "1"})
        assert tenants.store()[0].id in tenants.listed()


OLD_COMPLETION = """
INSERT INTO completions (project, id, created, model, metadata, document) VALUES
('mine', 'chatcmpl-old', 1, 'm', '{}', '{"id":"chatcmpl-old","created":1,"model":"m","choices":[]}')
"""


def test_many_starts_at_once_migrate_once(kind: KindOfDatabase) -> None:
    url = kind.new_url()

    def start(_: int) -> str | None:
        database = Database(url)
        try:
            return migrate(database)
        finally:
            database.close()

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(start, range(6)))
    assert set(found) <= {None, REVISION}
    database = Database(url)
    with database.reading() as connection:
        assert revision(connection) == REVISION
    database.close()


@pytest.mark.parametrize(
    ("version", "is_sound"),
    [
        ((3, 40, 1), False),
        ((3, 44, 5), False),
        ((3, 44, 6), True),
        ((3, 45, 0), False),
        ((3, 50, 6), False),
        ((3, 50, 7), True),
        ((3, 51, 2), False),
        ((3, 51, 3), True),
        ((3, 53, 4), True),
    ],
)
def test_versions_of_sqlite_with_the_fault(version: tuple[int, ...], is_sound: bool) -> None:
    assert has_sound_wal(version) == is_sound


def test_sqlite_synchronises_every_commit(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/x.db")
    wanted = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1}
    with database.reading() as connection:
        found = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in wanted}
    database.close()
    assert found == wanted
    assert database.has_sound_wal
