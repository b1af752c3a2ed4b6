"""Sound that waits for its encoder takes no memory."""

from __future__ import annotations

import asyncio
import tracemalloc

from completionist.chat.spool import Spool

CLAUSE = bytes(range(256)) * 1024


def test_what_waits_is_not_in_memory() -> None:
    async def fill() -> Spool:
        spool = Spool()
        for _ in range(100):
            await spool.add(CLAUSE)
        return spool

    tracemalloc.start()
    try:
        spool = asyncio.run(fill())
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert spool.n_bytes == 100 * len(CLAUSE)
    assert held < 4 * 2**20
    assert b"".join(spool.slices()) == CLAUSE * 100


def test_a_few_seconds_are_whole_too() -> None:
    spool = Spool()
    asyncio.run(spool.add(b"ab"))
    asyncio.run(spool.add(b"cd"))
    assert list(spool.slices()) == [b"abcd"]
