"""What this process may use of the machine: processors and memory, control groups respected."""

from __future__ import annotations

import math
import os
from pathlib import Path

import psutil

_CGROUP = Path("/sys/fs/cgroup")
_CGROUP_V1_CPU = _CGROUP / "cpu"
_CGROUP_V1_MEMORY = _CGROUP / "memory"
_ALLOWED = os.sched_getaffinity(os.getpid()) if hasattr(os, "sched_getaffinity") else None
"""The main thread's: what is loaded gently is imported by one that is kept to a single processor."""


def processors() -> int:
    """Whole processors this process may keep busy, at least 1: affinity, physical cores, and the quota of the group."""
    allowed = os.cpu_count() or 1 if _ALLOWED is None else len(_ALLOWED)
    quota = _cpu_quota()
    return max(1, allowed if quota is None else min(allowed, math.floor(quota)))


def are_all(threads: int) -> bool:
    """Whether so many threads are one for each processor that this process may run on, and more than one."""
    return _ALLOWED is not None and threads == len(_ALLOWED) > 1


def run_anywhere() -> None:
    """For a thread beside the steps: one that the thread which steps starts would share the processor that is bound to."""
    if _ALLOWED is not None:
        os.sched_setaffinity(0, _ALLOWED)


def free_memory_bytes(mapped_bytes: int = 0) -> int:
    """Memory that can be taken now without pushing anything out: the machine's, or what the group has left.

    `mapped_bytes` of files are in memory and in use: the machine counts them as available, the group as taken.
    """
    available = max(0, psutil.virtual_memory().available - mapped_bytes)
    left = _memory_left()
    return available if left is None else min(available, left)


def _cpu_quota() -> float | None:
    unified = _words(_CGROUP / "cpu.max")
    if len(unified) == 2 and unified[0] != "max":
        return int(unified[0]) / int(unified[1])
    quota, period = _words(_CGROUP_V1_CPU / "cpu.cfs_quota_us"), _words(_CGROUP_V1_CPU / "cpu.cfs_period_us")
    if quota and period and int(quota[0]) > 0:
        return int(quota[0]) / int(period[0])
    return None


def _memory_left() -> int | None:
    for limit_file, usage_file in (
        (_CGROUP / "memory.max", _CGROUP / "memory.current"),
        (_CGROUP_V1_MEMORY / "memory.limit_in_bytes", _CGROUP_V1_MEMORY / "memory.usage_in_bytes"),
    ):
        limit, usage = _words(limit_file), _words(usage_file)
        if limit and usage and limit[0] != "max":
            return max(0, int(limit[0]) - int(usage[0]))
    return None


def _words(path: Path) -> list[str]:
    """The blank-separated contents of a control file; empty where there is none."""
    try:
        return path.read_text(encoding="ascii").split()
    except OSError:
        return []
