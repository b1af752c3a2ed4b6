"""Freed memory goes back to the system at once, in processes that hold large texts for a moment."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""Numbers of glibc's `malloc.h`."""
_LARGE_BYTES = 128 * 2**10


def give_back_freed_memory() -> None:
    """Call it before there are threads. Where the allocator is not glibc's it does nothing.

    By itself glibc maps a buffer of its own only for what is larger than the largest buffer that was freed so far, and
    keeps up to twice that size at the top of every thread's heap: one body of a megabyte, and from then on each of ten
    threads may hold two megabytes of nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _LARGE_BYTES)
        mallopt(_M_ARENA_MAX, 2)
