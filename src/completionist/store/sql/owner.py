"""Which process a claim belongs to, and whether that one is known to be gone."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import psutil


def this_process() -> str:
    """`place/pid/start`: no other process, before or after, has the same."""
    return f"{_place()}/{os.getpid()}/{psutil.Process().create_time()}"


def is_gone(owner: str) -> bool:
    """Whether `owner` has ended. Nothing is known of processes elsewhere: those are taken to run."""
    place, pid, start, *_ = owner.split("/")
    if place != _place():
        return False
    try:
        return str(psutil.Process(int(pid)).create_time()) != start
    except psutil.NoSuchProcess:
        return True


def _place() -> str:
    """What tells apart where process numbers mean the same: a boot of a machine, and a container on it."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}-{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:  # not Linux
        return socket.gethostname().replace("/", "-")
