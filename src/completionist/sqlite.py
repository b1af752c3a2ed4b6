"""Which SQLite is used."""

from __future__ import annotations

import importlib
from types import ModuleType


def sqlite_driver() -> ModuleType:
    """The wheel that carries a SQLite of its own where there is one, else the interpreter's."""
    try:
        return importlib.import_module("pysqlite3.dbapi2")
    except ImportError:
        return importlib.import_module("sqlite3")
