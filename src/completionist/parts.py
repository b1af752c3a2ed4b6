"""Model files that come in several parts, as the tools of llama.cpp cut and join them: `name-00001-of-00003.gguf`."""

from __future__ import annotations

import re
from pathlib import Path

_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")
_MAX_PARTS = 999


def parts_of(path: Path) -> tuple[Path, ...]:
    """All files of the model that `path` is, or is a part of, whether they are there or not."""
    found = _PART.fullmatch(path.name)
    if found is None or int(found["count"]) > _MAX_PARTS:
        return (path,)
    count = int(found["count"])
    return tuple(path.with_name(f"{found['stem']}-{number:05}-of-{count:05}.gguf") for number in range(1, count + 1))
