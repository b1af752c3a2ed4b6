"""Which process a claim belongs to, and whether that one is known to be gone."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import psutil


def this_process() -> str:
    """`place/pid/start`: no other process, before or after, has the same."""
    return f"{_place()}/{os.getpid()}/{_start(os.getpid())}"


def is_gone(owner: str) -> bool:
    """Whether `owner` has ended. Nothing is known of processes elsewhere: those are taken to run."""
    place, pid, start, *_ = owner.split("/")
    if place != _place():
        return False
    try:
        return _start(int(pid)) != start
    except psutil.NoSuchProcess:
        return True


def _start(pid: int) -> str:
    """When a process began: in ticks since the boot, for a clock may be set. Raises `psutil.NoSuchProcess`."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except OSError:  # not Linux, or it has ended
        return str(psutil.Process(pid).create_time())


def _place() -> str:
    """What tells apart where process numbers mean the same: a boot of a machine, and a container on it."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}-{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:  # not Linux
        return socket.gethostname().replace("/", "-")
