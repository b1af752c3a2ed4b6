"""The database server of the tests: it comes back as it went, and goes with the tests."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.postgres import Postgres
from tests.support.server import eventually

_DIES = """
import os, signal
from tests.support.postgres import running_postgres
with running_postgres() as postgres:
    print(postgres.directory, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_it_comes_back_with_what_was_committed(postgres: Postgres, postgres_url: str, how: signal.Signals) -> None:
    postgres.query(postgres_url, "CREATE TABLE tides (height int)")
    postgres.query(postgres_url, "INSERT INTO tides VALUES (3), (5)")
    postgres.stop(how)
    with pytest.raises(AssertionError, match="connection to server"):
        postgres.query(postgres_url, "SELECT 1")
    postgres.start()
    assert postgres.query(postgres_url, "SELECT height FROM tides ORDER BY height") == "3\n5"


def test_databases_are_apart(postgres: Postgres, postgres_url: str) -> None:
    postgres.query(postgres_url, "CREATE TABLE tides (height int)")
    tables = "SELECT count(*) FROM pg_tables WHERE tablename = 'tides'"
    assert postgres.query(postgres_url, tables) == "1"
    assert postgres.query(postgres.new_database(), tables) == "0"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_it_ends_with_its_parent() -> None:
    dead = subprocess.run([sys.executable, "-c", _DIES], cwd=Path(__file__).parents[2], capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert dead.returncode == -signal.SIGKILL, dead.stderr
    directory = dead.stdout.strip()
    eventually(lambda: not _servers(directory))
    shutil.rmtree(directory)


def _servers(directory: str) -> list[int]:
    return [p.pid for p in psutil.process_iter(["cwd", "status"]) if _is_in(p, directory)]


def _is_in(process: psutil.Process, directory: str) -> bool:
    return process.info["status"] != psutil.STATUS_ZOMBIE and str(process.info["cwd"]).startswith(directory)
