"""Where the database is when the settings name none."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def database_url(configured: str | None) -> str:
    """`configured`, else a SQLite file in the user's data directory."""
    return configured or f"sqlite:///{data_directory() / 'completionist.db'}"


def data_directory() -> Path:
    """`completionist` in the user's data directory (XDG base directories; `Application Support` on macOS)."""
    if base := os.environ.get("XDG_DATA_HOME"):
        return Path(base) / "completionist"
    home = Path.home()
    return (home / "Library" / "Application Support" if sys.platform == "darwin" else home / ".local" / "share") / (
        "completionist"
    )
