"""Which llama.cpp library runs: the configured file, a native build for this processor, or the wheel's shared object.

Nothing is loaded and no package is imported here; the file is only found and named. All three hold the same pinned
version, because the declarations in `capi` are those of that version's header.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.metadata
import importlib.util
import platform
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

from completionist.cache import cache_directory
from completionist.errors import OperatorError

PACKAGE = "xllamacpp"
PINNED_VERSION = "2026.10.11549"
NATIVE_FILE = "libcompletionist-llama.so"

Accelerator = Literal["cpu", "cuda", "vulkan", "metal"]
ACCELERATORS: tuple[Accelerator, ...] = ("cpu", "cuda", "vulkan", "metal")

BUILD_FLAGS = {
    "CMAKE_BUILD_TYPE": "Release",
    "CMAKE_POSITION_INDEPENDENT_CODE": "ON",
    "BUILD_SHARED_LIBS": "OFF",  # one shared object is linked from the static parts
    "GGML_NATIVE": "ON",
    "GGML_LLAMAFILE": "OFF",  # its kernels make a row's result depend on the shape of the batch
    "GGML_CUDA": "OFF",
    "GGML_VULKAN": "OFF",
    "GGML_METAL": "OFF",
    "LLAMA_BUILD_MTMD": "ON",
    "MTMD_VIDEO": "OFF",  # it would run an ffmpeg found on PATH
}


class LibraryMissing(OperatorError):
    """No library can run: each subclass says how to get one."""


class ConfiguredLibraryMissing(LibraryMissing):
    def __init__(self, path: Path) -> None:
        super().__init__(f"no llama.cpp library at {path}: correct engine.library, or leave it out to use the wheel's")


class WheelMissing(LibraryMissing):
    def __init__(self) -> None:
        super().__init__(
            f"the inference library is not installed: pip install {PACKAGE}=={PINNED_VERSION}, "
            "or set engine.library to a llama.cpp library of that version"
        )


class WheelMismatch(LibraryMissing):
    """Another version has other structs: loading it would read nonsense."""

    def __init__(self, installed: str) -> None:
        super().__init__(
            f"{PACKAGE} {installed} is installed, not the pinned one: pip install {PACKAGE}=={PINNED_VERSION}"
        )


class OpenMPMissing(LibraryMissing):
    def __init__(self) -> None:
        super().__init__(
            "libgomp.so.1 is missing, which the inference library needs: "
            "apt install libgomp1, dnf install libgomp, or brew install gcc"
        )


class Library(msgspec.Struct, frozen=True, kw_only=True):
    """A file that exports the C API of llama.cpp and mtmd."""

    path: Path
    description: str
    """For people and fingerprints, such as `xllamacpp 2026.10.11549 (wheel)`."""


def find_library(configured: Path | None = None, *, cache_dir: Path | None = None) -> Library:
    """The library that an engine started now would load; raises `LibraryMissing`."""
    if configured is not None:
        return _configured_library(configured.expanduser())
    return native_library(cache_directory(cache_dir)) or _wheel_library()


def native_library(cache: Path) -> Library | None:
    """The newest native build in `cache` of this version and these flags, for this very processor."""
    built = [library for name in ACCELERATORS if (library := native_build(cache, name)).path.is_file()]
    return max(built, key=lambda library: library.path.stat().st_mtime_ns, default=None)


def native_build(cache: Path, accelerator: Accelerator) -> Library:
    """The library that `engine build` makes, whether it is there or not."""
    return Library(
        path=native_path(cache, accelerator),
        description=f"native build {PINNED_VERSION} ({accelerator}) for this processor",
    )


def native_path(cache: Path, accelerator: Accelerator) -> Path:
    """Where a native build is kept: its name changes with version, flags and processor, so that none is used elsewhere."""
    key = [
        PINNED_VERSION,
        *sorted(map("=".join, build_flags(accelerator).items())),
        platform.machine(),
        *processor_features(),
    ]
    digest = hashlib.sha256("\n".join(key).encode()).hexdigest()[:16]
    return cache / "native" / f"{PINNED_VERSION}-{accelerator}-{digest}" / NATIVE_FILE


def build_flags(accelerator: Accelerator) -> dict[str, str]:
    """What cmake is told, by name."""
    chosen = {} if accelerator == "cpu" else {f"GGML_{accelerator.upper()}": "ON"}
    return BUILD_FLAGS | chosen


@cache
def processor_features() -> tuple[str, ...]:
    """Names of what this processor can do, sorted, as the kernel lists them; empty where it lists nothing."""
    if sys.platform == "darwin":
        names = ["machdep.cpu.brand_string", "hw.optional"]
        listed = subprocess.run(["/usr/sbin/sysctl", *names], capture_output=True, text=True, check=False)  # noqa: S603 - fixed command
        return tuple(sorted(listed.stdout.splitlines()))
    return _listed_features(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace"))


def _listed_features(cpuinfo: str) -> tuple[str, ...]:
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return tuple(sorted(set(value.split())))
    return ()


def _configured_library(path: Path) -> Library:
    if not path.is_file():
        raise ConfiguredLibraryMissing(path)
    return Library(path=path, description=f"configured library {path}")


def _wheel_library() -> Library:
    try:
        installed = importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        raise WheelMissing from None
    if installed != PINNED_VERSION:
        raise WheelMismatch(installed)
    path = _wheel_file()
    if sys.platform == "linux":
        _check_openmp()
    return Library(path=path, description=f"{PACKAGE} {installed} (wheel)")


def _wheel_file() -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        for path in sorted(Path(place).glob(f"{PACKAGE}*.so")):
            return path
    raise WheelMissing


def _check_openmp() -> None:
    try:
        ctypes.CDLL("libgomp.so.1")
    except OSError:
        raise OpenMPMissing from None
