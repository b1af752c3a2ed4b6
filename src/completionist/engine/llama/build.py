"""`engine build`: compile the pinned llama.cpp and mtmd for this very processor, from the wheel's own source archive.

    native/work-<version>-<accelerator>-<key>/<archive>   verified; kept until the library stands
    native/work-<version>-<accelerator>-<key>/source/     only its llama.cpp, as plain files
    native/work-<version>-<accelerator>-<key>/build/      cmake's; a build that was stopped goes on here
    native/<version>-<accelerator>-<key>/                 the library, once it has loaded and answered

Nothing of the archive runs but what cmake compiles.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import ClassVar, Literal

import msgspec

from completionist.cache import cache_directory, exclusive, writing
from completionist.download import promote
from completionist.engine.llama.library import (
    NATIVE_FILE,
    PACKAGE,
    PINNED_VERSION,
    Accelerator,
    Library,
    build_flags,
    native_build,
)
from completionist.engine.llama.quota import processors
from completionist.engine.llama.show import system_info
from completionist.errors import OperatorError
from completionist.package_index import IndexConfig, PackageIndex, index_config
from completionist.pinned import PinnedFile
from completionist.settings import ModelSettings

SOURCE_ARCHIVE = PinnedFile(
    project=PACKAGE,
    name=f"{PACKAGE}-{PINNED_VERSION}.tar.gz",
    size_bytes=37_722_765,
    sha256="c17ee1163006f70726abb9f72137830818f3d8cb60bfc34cb232d08428eaa22b",
)
_PROGRESS = re.compile(r"\[ *(?:(?P<percent>\d+)%|(?P<done>\d+)/(?P<total>\d+))\]")  # make's form, ninja's form
_TARGET = "completionist-llama"

_ERROR = re.compile(r"\berror:|^CMake Error|\*\*\*|No space left", re.IGNORECASE)
_MISSING_TOOLS = {
    "No CMAKE_C_COMPILER could be found": "a C compiler",
    "No CMAKE_CXX_COMPILER could be found": "a C++ compiler",
    "CMAKE_MAKE_PROGRAM is not set": "make",
}  # in cmake's words

Stage = Literal["waiting", "fetching", "unpacking", "configuring", "compiling", "checking"]


class BuildToolMissing(OperatorError):
    def __init__(self, tool: str) -> None:
        super().__init__(
            f"{tool} is missing, which building needs (building is optional): apt install cmake g++ make, "
            "dnf install cmake gcc-c++ make, or (macOS) brew install cmake and xcode-select --install"
        )


class BuildFailed(OperatorError):
    def __init__(self, step: str, line: str, log: Path) -> None:
        super().__init__(f"{step} failed ({line}): see {log}; the wheel's library still works")


class BuildStopped(OperatorError):
    """Ctrl-C."""

    exit_code: ClassVar[int] = 130

    def __init__(self) -> None:
        super().__init__("stopped; what is done is kept: completionist engine build goes on from there")


class BuildProgress(msgspec.Struct, frozen=True, kw_only=True):
    stage: Stage
    percent: int
    """0 … 100, of this stage."""


OnProgress = Callable[[BuildProgress], None]


def default_accelerator() -> Accelerator:
    return "metal" if sys.platform == "darwin" else "cpu"


def build(
    settings: ModelSettings,
    accelerator: Accelerator,
    on_progress: OnProgress,
    *,
    config: IndexConfig | None = None,
    source: PinnedFile = SOURCE_ARCHIVE,
) -> Library:
    """The native library, built anew even if one is there. Blocking, minutes.

    `config`: the index to use instead of the one pip names.

    Raises only `OperatorError`s: those above, of `package_index`, `download`, `cache`, and `LibraryBroken`.
    """
    if shutil.which("cmake") is None:
        raise BuildToolMissing("cmake")
    cache = cache_directory(settings.cache_dir)
    library = native_build(cache, accelerator)
    native = cache / "native"
    try:
        with writing(native), exclusive(native / ".lock", lambda: on_progress(_at("waiting"))):
            _Build(library.path, accelerator, source, on_progress).run(
                lambda: config or index_config(settings.index_url)
            )
    except KeyboardInterrupt:
        raise BuildStopped from None
    return library


def _at(stage: Stage, percent: int = 0) -> BuildProgress:
    return BuildProgress(stage=stage, percent=percent)


class _Build:
    def __init__(self, path: Path, accelerator: Accelerator, archive: PinnedFile, on_progress: OnProgress) -> None:
        self._path = path
        self._archive = archive
        self._flags = build_flags(accelerator)
        self._on_progress = on_progress
        self._work = path.parent.with_name(f"work-{path.parent.name}")
        self._source = self._work / "source"
        self._build = self._work / "build"
        self._log = self._work / "build.log"

    def run(self, index: Callable[[], IndexConfig]) -> None:
        self._work.mkdir(exist_ok=True)
        if not self._source.is_dir():
            self._unpack(self._fetch(index()))
        self._log.unlink(missing_ok=True)
        self._configure()
        self._compile()
        self._install()
        shutil.rmtree(self._work)

    def _fetch(self, config: IndexConfig) -> Path:
        def report(have: int) -> None:
            self._on_progress(_at("fetching", 100 * have // self._archive.size_bytes))

        with PackageIndex(config) as index:
            return index.fetch(self._archive, self._work, report)

    def _unpack(self, archive: Path) -> None:
        self._on_progress(_at("unpacking"))
        unfinished = self._work / "source.tmp"
        shutil.rmtree(unfinished, ignore_errors=True)
        unpack_sources(archive, unfinished / "llama.cpp")
        unfinished.rename(self._source)

    def _configure(self) -> None:
        self._on_progress(_at("configuring"))
        project = resources.files(__package__).joinpath("native", "CMakeLists.txt")
        (self._source / "CMakeLists.txt").write_bytes(project.read_bytes())
        options = [f"-D{name}={value}" for name, value in self._flags.items()]
        try:
            self._run("configuring", ["-S", str(self._source), "-B", str(self._build), *options])
        except OperatorError:
            shutil.rmtree(self._build, ignore_errors=True)  # cmake remembers what it did not find
            raise

    def _compile(self) -> None:
        jobs = str(processors())
        self._run("compiling", ["--build", str(self._build), "--target", _TARGET, "--parallel", jobs])

    def _install(self) -> None:
        """Under its name only once it runs here."""
        self._on_progress(_at("checking"))
        built = self._build / NATIVE_FILE
        system_info(built)
        self._path.parent.mkdir(exist_ok=True)
        promote(built, self._path)

    def _run(self, stage: Stage, arguments: Sequence[str]) -> None:
        command, lines = _Command(["cmake", *arguments]), list[str]()
        with self._log.open("a", encoding="utf-8") as log, closing(command.lines()) as output:
            for line in output:
                log.write(line)
                lines.append(line)
                if percent := _percent(line):
                    self._on_progress(_at(stage, percent))
        if command.status != 0:
            raise _failure(stage, lines, self._log)


class _Command:
    """A program in a process group of its own, so that its compilers end with it."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._arguments = arguments
        self.status: int | None = None

    def lines(self) -> Generator[str]:
        """What it prints; `status` is set at the end."""
        with subprocess.Popen(  # noqa: S603 - cmake with our own arguments
            self._arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        ) as process:
            try:
                yield from process.stdout or ()
                self.status = process.wait()
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGTERM)


def unpack_sources(archive: Path, destination: Path) -> None:
    """The archive's llama.cpp tree as plain files below `destination`: no links, no devices, no way out of it."""
    root = PurePosixPath(f"{PACKAGE}-{PINNED_VERSION}/thirdparty/llama.cpp")
    with tarfile.open(archive) as tar:
        for member in tar:
            name = PurePosixPath(member.name)
            data = (
                tar.extractfile(member)
                if member.isreg() and name.is_relative_to(root) and ".." not in name.parts
                else None
            )
            if data is None:
                continue
            path = destination / name.relative_to(root)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as output:
                shutil.copyfileobj(data, output)


def _percent(line: str) -> int | None:
    found = _PROGRESS.match(line)
    if found is None:
        return None
    return int(found["percent"]) if found["percent"] else 100 * int(found["done"]) // int(found["total"])


def _failure(stage: Stage, lines: Sequence[str], log: Path) -> OperatorError:
    text = "".join(lines)
    for sign, tool in _MISSING_TOOLS.items():
        if sign in text:
            return BuildToolMissing(tool)
    telling = [line for line in lines if _ERROR.search(line)] or [*lines[-1:], "no output"]
    return BuildFailed(stage, telling[0].strip(), log)
