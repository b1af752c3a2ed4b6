"""Half an hour of everything at twice what the server can do: `python -m bench.soak --minutes 30`.

Nothing may be answered with 500, nothing that was acknowledged may be lost, memory and descriptors must come back, and the
end must be as fast as the beginning. The first figures are taken when the server is warm and the prefix cache is full, so
that what it holds is in both.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence

import msgspec
import psutil

from bench.harness import Options, parse_options
from bench.mixed import Book, Finished, load, lost
from bench.servers import Server, completionist

_STREAMS = 8
_CELLS = 1024
_CACHE_BYTES = 16 * 2**20
"""Of the prefix cache: little, so that the warm-up fills it."""
_WARM_UP = 0.1
"""Of the time, before it."""
_LEAST_WARM_UP_S = 30.0
_PART = 0.25
"""Of the time: what is called the beginning and the end."""
_RAMP = 0.05
"""Of the time, before the beginning: until as many answers end as begin."""
_SETTLE_S = 10.0
_MAX_GROWTH = 1.05
_LEAST_SPEED = 0.98


class Held(msgspec.Struct, frozen=True):
    """What a process holds."""

    memory_bytes: int
    """Of its own, with what is swapped out; not the pages of files."""
    descriptors: int


class Soak(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    minutes: float
    answers: dict[int, int]
    """By status."""
    tokens_per_s: tuple[float, float]
    """At the beginning and at the end."""
    stored: int
    deleted: int
    files: int
    lost: list[str]
    broken: list[str]
    held: dict[str, tuple[Held, Held]]
    """By process, before and after."""

    def failures(self) -> list[str]:
        """What was not as it must be."""
        begun, ended = self.tokens_per_s
        found = [f"{n} answers with status {status}" for status, n in self.answers.items() if status in {0, 500}]
        found += [f"lost: {fault}" for fault in self.lost[:5]] + [f"broken: {fault}" for fault in self.broken[:5]]
        if ended < _LEAST_SPEED * begun:
            found.append(f"{ended / begun:.3f} of the speed at the beginning")
        for who, (before, after) in self.held.items():
            for what in Held.__struct_fields__:
                growth = getattr(after, what) / getattr(before, what)
                if growth > _MAX_GROWTH:
                    found.append(f"{what} of the {who}: {growth:.3f} of what it was")
        return found


def soak(server: Server, minutes: float, *, n_clients: int) -> Soak:
    """Warm up, look, load, look again, and count what is left of what was promised."""
    url = f"http://127.0.0.1:{server.port}"
    warm_up_s = max(_LEAST_WARM_UP_S, minutes * 60 * _WARM_UP)
    book = Book()
    asyncio.run(load(url, server.model, book, n_clients=n_clients, duration_s=warm_up_s))
    before = _held(server)
    began_s = time.monotonic()
    asyncio.run(load(url, server.model, book, n_clients=n_clients, duration_s=minutes * 60))
    after = _held(server)
    return Soak(
        minutes=minutes,
        answers=dict(sorted(book.statuses.items())),
        tokens_per_s=speeds(book.finished, began_s, minutes * 60),
        stored=len(book.stored),
        deleted=len(book.deleted),
        files=len(book.files),
        lost=asyncio.run(lost(url, book)),
        broken=book.broken,
        held={who: (before[who], after[who]) for who in before},
    )


def speeds(finished: Sequence[Finished], began_s: float, duration_s: float) -> tuple[float, float]:
    """Tokens per second of answers that ended in the first and in the last part of the time."""
    part_s = _PART * duration_s
    starts_s = (began_s + _RAMP * duration_s, began_s + duration_s - part_s)
    first, last = (sum(one.tokens for one in finished if at <= one.at_s < at + part_s) / part_s for at in starts_s)
    return first, last


def _held(server: Server) -> dict[str, Held]:
    time.sleep(_SETTLE_S)
    (engine,) = [one for one in server.workers() if "completionist.engine.llama.worker" in " ".join(one.cmdline())]
    return {who: _held_by(process) for who, process in (("API process", server.process), ("engine", engine))}


def _held_by(process: psutil.Process) -> Held:
    with open(f"/proc/{process.pid}/status") as status:  # noqa: PTH123 (not a file of ours)
        sizes = dict(line.split(":", 1) for line in status)
    n_kib = sum(int(sizes[name].split()[0]) for name in ("RssAnon", "VmSwap"))
    return Held(n_kib * 1024, process.num_fds())


def report(result: Soak) -> str:
    begun, ended = result.tokens_per_s
    lines = [
        f"{result.minutes:g} minutes, answers by status: {result.answers}",
        f"{begun:.1f} tokens/s at the beginning, {ended:.1f} at the end: {ended / begun:.3f}",
        f"{result.stored} stored, {result.deleted} deleted, {result.files} files",
        f"lost: {len(result.lost)}, broken: {len(result.broken)}",
    ]
    for who, (before, after) in result.held.items():
        lines.append(
            f"{who}: {before.memory_bytes / 1e6:.1f} → {after.memory_bytes / 1e6:.1f} MB, "
            f"{before.descriptors} → {after.descriptors} descriptors"
        )
    return "\n".join([*lines, *(f"FAILED: {failure}" for failure in result.failures())])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--json", action="store_true", help="print JSON")
    given, rest = parser.parse_known_args()
    options: Options = parse_options("The server, as for every scenario.", rest)
    sizes = {"streams": _STREAMS, "context_tokens": _CELLS, "cache_bytes": _CACHE_BYTES}
    with completionist(options, **sizes) as server:
        result = soak(server, given.minutes, n_clients=2 * _STREAMS)
    print(msgspec.json.encode(result).decode() if given.json else report(result))
    return 1 if result.failures() else 0


if __name__ == "__main__":
    sys.exit(main())
