"""What a start pays for the database: nothing on the thread that everybody waits for."""

from __future__ import annotations

import subprocess
import sys

import pytest

from completionist.store.sql.place import shown


def test_the_database_library_is_imported_by_nobody_but_the_thread_that_opens() -> None:
    imported = "{'sqlalchemy', 'alembic', 'psycopg'} & {*sys.modules}"
    code = f"import completionist.app, completionist.cli.serve, sys; print({imported})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("sqlite:////var/lib/x.db", "/var/lib/x.db"),
        ("postgresql://user:secret@host/name", "postgresql://user:***@host/name"),
        ("postgresql://user@host/name", "postgresql://user@host/name"),
    ],
)
def test_a_password_is_never_shown(url: str, text: str) -> None:
    assert shown(url) == text
