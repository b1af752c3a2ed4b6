"""Brings a database to the newest schema: at every start, in one transaction, one process at a time."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, exc, inspect, text

from completionist.store.sql.database import Database, DatabaseRefused
from completionist.store.sql.tables import REVISION

_LOCK = 0x636F6D706C  # any number that no other program takes


def migrate(database: Database) -> str | None:
    """Apply what is missing and return the revision that was there, None for an empty database.

    Raises `StorageUnavailable`, and `DatabaseRefused` where a newer version of this program wrote the database, or where
    it does not take the new schema.
    """
    with database.reading() as connection:
        found = revision(connection)
    if found == REVISION:
        return found
    with database.writing() as connection:
        if not database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        found = revision(connection)
        if found != REVISION:
            _upgrade(connection, found)
    return found


def revision(connection: Connection) -> str | None:
    """Of the schema that is there; None where there is none."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _upgrade(connection: Connection, found: str | None) -> None:
    # Imported where there is something to do: it takes longer than a start may.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise DatabaseRefused(
            f"the database has schema {found}, which a newer version of this program made: use that version, or go "
            "back to the copy that was made before it was upgraded"
        )
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, REVISION)
    except exc.DBAPIError as error:
        if not _is_refusal(error):
            raise
        reason = str(error.orig).partition("\n")[0]
        raise DatabaseRefused(
            f"the database cannot be brought from schema {found or 'none'} to {REVISION}, and was left as it is: {reason}"
        ) from None


def _is_refusal(error: exc.DBAPIError) -> bool:
    """Whether the database understood and would not: it has tables of somebody else's, or this user may make none."""
    return isinstance(error, exc.ProgrammingError) or getattr(error.orig, "sqlite_errorname", None) == "SQLITE_ERROR"
