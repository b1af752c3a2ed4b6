"""Every row of the abuse catalogue has a test that names it."""

from __future__ import annotations

import re
from pathlib import Path

N_ROWS = 57
_NAMED = re.compile(r"rows?[ _](\d+)(?:(?:, | and |_and_)(\d+))*", re.IGNORECASE)
TESTS = Path(__file__).parents[1]


def test_no_row_is_without_a_test() -> None:
    texts = (path.read_text() for path in TESTS.rglob("test_*.py") if path != Path(__file__))
    named = {
        int(number) for text in texts for found in _NAMED.finditer(text) for number in re.findall(r"\d+", found[0])
    }
    assert [row for row in range(1, N_ROWS + 1) if row not in named] == []
