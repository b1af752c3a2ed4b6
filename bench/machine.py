"""Whether this machine is idle but for us, and the facts a figure depends on."""

from __future__ import annotations

import hashlib
import platform
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from completionist.engine.llama.library import Library, processor_features
from completionist.engine.llama.quota import processors

MAX_FOREIGN_LOAD = 0.1
"""Cores that others may use, on average over what is looked at; more makes a figure worthless."""
_LOOK_S = 1.0
_TELLING_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "fma", "neon", "asimddp", "i8mm", "sve")


class NotIdle(Exception):
    """Others are using the processors."""


@dataclass
class ForeignLoad:
    """Cores that were busy with something that is neither this process nor a descendant of it."""

    cores: float = 0.0


@contextmanager
def watching() -> Iterator[ForeignLoad]:
    """Measure the foreign load over the block. What a hypervisor takes away counts as foreign too."""
    load = ForeignLoad()
    busy_s, own_s, began_s = _machine_cpu_s(), tree_cpu_s(psutil.Process()), time.monotonic()
    yield load
    elapsed_s = time.monotonic() - began_s
    foreign_s = (_machine_cpu_s() - busy_s) - (tree_cpu_s(psutil.Process()) - own_s)
    load.cores = max(0.0, foreign_s / elapsed_s) if elapsed_s > 0 else 0.0


def foreign_load() -> float:
    """Cores that others keep busy now, looked at for a second."""
    with watching() as load:
        time.sleep(_LOOK_S)
    return load.cores


def tree_cpu_s(root: psutil.Process) -> float:
    """Processor seconds that a process and all its descendants have used, those that ended included."""
    total_s = 0.0
    for process in [root, *root.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total_s += times.user + times.system + times.children_user + times.children_system
    return total_s


def _machine_cpu_s() -> float:
    times = psutil.cpu_times()._asdict()
    return float(sum(times.get(kind, 0.0) for kind in ("user", "nice", "system", "irq", "softirq", "steal")))


def facts(library: Library, model: Path, threads: int, *, flash_attention: str) -> dict[str, str]:
    """What has to be the same for two results to be compared."""
    return {
        "processor": _processor(),
        "features": " ".join(name for name in _TELLING_FEATURES if name in processor_features()),
        "usable cores": f"{processors()} of {psutil.cpu_count()}",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "library": library.description,
        "model file": f"{model.name}, {model.stat().st_size:,} bytes, sha256 {_sha256(model)[:12]}",
        "threads": str(threads),
        "flash attention": flash_attention,
        "commit": _commit(),
    }


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _commit() -> str:
    """The commit that is measured; a `+` says that the tree differs from it."""
    here = Path(__file__).parent
    asked = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
        cwd=here,
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stdout.strip() or "unknown"
