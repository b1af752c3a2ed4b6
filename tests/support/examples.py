"""How many examples property tests try: what each says, or many times as many where `make fuzz` asks for it."""

from __future__ import annotations

import os

TIMES_VARIABLE = "FUZZ_TIMES"


def examples(n: int) -> int:
    return n * int(os.environ.get(TIMES_VARIABLE, "1"))
