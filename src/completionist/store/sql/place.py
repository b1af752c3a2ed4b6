"""Where the database and the contents of files are when the settings name no place."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path


def database_url(configured: str | None) -> str:
    """`configured`, else a SQLite file in the user's data directory."""
    return configured or f"sqlite:///{data_directory() / 'completionist.db'}"


def files_directory(configured: Path | None, configured_url: str | None) -> Path:
    """`configured`; else `NAME.files` beside the SQLite database `NAME.db`; else in the user's data directory."""
    if configured is not None:
        return configured
    if configured_url is not None and configured_url.startswith("sqlite:///"):
        return Path(configured_url.removeprefix("sqlite:///")).expanduser().with_suffix(".files")
    return data_directory() / "completionist.files"


def shown(url: str) -> str:
    """For people: a file as its path, a server without its password."""
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", url.removeprefix("sqlite:///"))


def data_directory() -> Path:
    """`completionist` in the user's data directory (XDG base directories; `Application Support` on macOS)."""
    if base := os.environ.get("XDG_DATA_HOME"):
        return Path(base) / "completionist"
    home = Path.home()
    return (home / "Library" / "Application Support" if sys.platform == "darwin" else home / ".local" / "share") / (
        "completionist"
    )
