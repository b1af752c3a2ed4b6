"""docs/security.md names tests and files that there are."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()
ROWS = re.findall(r"^\| [^|]+ \| `([\w/.]+)` \| [^|]+ \| `(tests/[\w/.]+)::(\w+)` \|", PAGE, re.MULTILINE)


def test_every_guard_is_in_a_file_and_has_a_test() -> None:
    assert len(ROWS) == PAGE.count("::")
    assert [file for file, *_ in ROWS if not (ROOT / "src" / "completionist" / file).is_file()] == []
    assert [name for _, file, name in ROWS if f"\ndef {name}(" not in (ROOT / file).read_text()] == []
