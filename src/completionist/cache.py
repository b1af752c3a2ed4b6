"""Where this machine keeps what was fetched or built for it: models, native libraries.

<cache>/models/<name>/<file>.gguf
<cache>/native/<version>-<accelerator>-<key>/
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_directory(configured: Path | None = None) -> Path:
    """`configured`, else `completionist` in the user's cache directory (XDG base directories; `~/Library/Caches` on macOS)."""
    if configured is not None:
        return configured.expanduser()
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "completionist"
    home = Path.home()
    return (home / "Library" / "Caches" if sys.platform == "darwin" else home / ".cache") / "completionist"
