"""`engine build` with a cmake of the tests' own; the real one is in `test_real_build`."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from completionist.engine.llama.build import (
    BuildFailed,
    BuildProgress,
    BuildToolMissing,
    build,
    default_accelerator,
    unpack_sources,
)
from completionist.engine.llama.library import PINNED_VERSION, find_library, native_library
from completionist.engine.llama.show import LibraryBroken, show
from completionist.pinned import PinnedFile
from completionist.settings import EngineSettings, ModelSettings
from tests.models.simple_index import SimpleIndex, serving

TREE = f"xllamacpp-{PINNED_VERSION}/thirdparty/llama.cpp"

# Checks its surroundings as cmake would need them; "compiles" by copying the file that $BUILT names.
CMAKE = """#!/bin/sh
echo "$@" >> "$ARGUMENTS"
case "$1" in
-S)
    test -f "$2/CMakeLists.txt" && test -f "$2/llama.cpp/CMakeLists.txt" || exit 9
    mkdir -p "$4"
    echo "-- The C compiler identification"
    eval "$ON_CONFIGURE"
    ;;
--build)
    echo "[  7%] Building"
    eval "$ON_COMPILE"
    echo "[1/2] Linking"
    cp "$BUILT" "$2/libcompletionist-llama.so"
    echo "[100%] Built target completionist-llama"
    ;;
esac
"""


def archive(*members: tarfile.TarInfo) -> bytes:
    """A source archive: a file of llama.cpp, a file beside it, and `members`."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name in (f"{TREE}/CMakeLists.txt", f"{TREE}/src/llama.cpp", f"xllamacpp-{PINNED_VERSION}/setup.py"):
            info = tarfile.TarInfo(name)
            info.size = 4
            tar.addfile(info, io.BytesIO(b"text"))
        for member in members:
            tar.addfile(member, io.BytesIO(bytes(member.size)))
    return buffer.getvalue()


@pytest.fixture
def index() -> Iterator[SimpleIndex]:
    with serving() as running:
        yield running


@pytest.fixture
def source(index: SimpleIndex) -> PinnedFile:
    return index.add("xllamacpp", f"xllamacpp-{PINNED_VERSION}.tar.gz", archive())


@pytest.fixture
def settings(tmp_path: Path, index: SimpleIndex) -> ModelSettings:
    return ModelSettings(cache_dir=tmp_path / "cache", index_url=index.url)


@pytest.fixture(autouse=True)
def cmake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which it writes its arguments down."""
    program = tmp_path / "bin" / "cmake"
    program.parent.mkdir()
    program.write_text(CMAKE)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("ARGUMENTS", str(tmp_path / "arguments"))
    monkeypatch.setenv("BUILT", str(find_library(cache_dir=tmp_path / "none").path))
    monkeypatch.setenv("ON_CONFIGURE", "true")
    monkeypatch.setenv("ON_COMPILE", "true")
    return tmp_path / "arguments"


def ignore(_: BuildProgress) -> None:
    """Progress that nobody watches."""


def build_here(settings: ModelSettings, index: SimpleIndex, source: PinnedFile) -> None:
    build(settings, "cpu", ignore, config=index.config, source=source)


def work_of(settings: ModelSettings) -> Path:
    assert settings.cache_dir is not None
    (work,) = settings.cache_dir.joinpath("native").glob("work-*")
    return work


def test_a_build_becomes_the_library_that_runs(
    index: SimpleIndex, source: PinnedFile, settings: ModelSettings, cmake: Path
) -> None:
    seen: list[BuildProgress] = []
    library = build(settings, "cpu", seen.append, config=index.config, source=source)
    assert find_library(cache_dir=settings.cache_dir) == library
    assert library.description == f"native build {PINNED_VERSION} (cpu) for this processor"
    assert show(EngineSettings(), settings).advice == "the native build for this processor runs"
    assert [item.name for item in library.path.parent.parent.iterdir() if item.is_dir()] == [library.path.parent.name]

    stages = list(dict.fromkeys(progress.stage for progress in seen))
    assert stages == ["fetching", "unpacking", "configuring", "compiling", "checking"]
    assert [progress.percent for progress in seen if progress.stage == "compiling"] == [7, 50, 100]
    configure, compile_ = cmake.read_text().splitlines()
    assert "-DGGML_NATIVE=ON" in configure
    assert "-DGGML_LLAMAFILE=OFF" in configure
    assert "-DLLAMA_BUILD_MTMD=ON" in configure
    assert "--target completionist-llama --parallel" in compile_


def test_only_plain_files_of_llama_cpp_are_unpacked(tmp_path: Path) -> None:
    def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        info.size = 3 if kind == tarfile.REGTYPE else 0
        return info

    members = [
        member("../outside"),
        member(f"{TREE}/../../../../outside"),
        member("/no/such/place/outside"),
        member(f"{TREE}/link", tarfile.SYMTYPE, "/etc"),
        member(f"{TREE}/link/inside"),
        member(f"{TREE}/hard", tarfile.LNKTYPE, "/etc/passwd"),
        member(f"{TREE}/device", tarfile.CHRTYPE),
    ]
    (tmp_path / "a.tar.gz").write_bytes(archive(*members))
    unpack_sources(tmp_path / "a.tar.gz", tmp_path / "deep" / "out")
    unpacked = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_symlink() or path.is_file()}
    below = "deep/out"
    tools = {"bin/cmake"}
    assert unpacked - tools == {"a.tar.gz", f"{below}/CMakeLists.txt", f"{below}/src/llama.cpp", f"{below}/link/inside"}


def test_a_missing_cmake_names_its_packages(
    index: SimpleIndex, source: PinnedFile, settings: ModelSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/no/such/place")
    with pytest.raises(BuildToolMissing, match=r"cmake is missing.*apt install cmake"):
        build_here(settings, index, source)
    assert index.requests == []


def test_a_missing_compiler_names_its_packages_and_is_looked_for_anew(
    index: SimpleIndex, source: PinnedFile, settings: ModelSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "echo 'CMake Error at CMakeLists.txt:4 (project):'; echo '  No CMAKE_CXX_COMPILER could be found.'; exit 1"
    monkeypatch.setenv("ON_CONFIGURE", said)
    with pytest.raises(BuildToolMissing, match=r"a C\+\+ compiler is missing"):
        build_here(settings, index, source)
    assert not (work_of(settings) / "build").exists()
    monkeypatch.setenv("ON_CONFIGURE", "true")
    build_here(settings, index, source)
    assert len(index.requests) == 1


def test_a_failed_compilation_names_line_and_log(
    index: SimpleIndex, source: PinnedFile, settings: ModelSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "ON_COMPILE", "echo 'ggml.c:1:2: error: expected a miracle'; echo 'make: *** [all] Error 2'; exit 2"
    )
    with pytest.raises(BuildFailed, match=r"compiling failed \(ggml\.c:1:2: error: expected a miracle\)"):
        build_here(settings, index, source)
    assert "expected a miracle" in (work_of(settings) / "build.log").read_text()
    assert native_library(settings.cache_dir or Path()) is None
    monkeypatch.setenv("ON_COMPILE", "exit 3")
    with pytest.raises(BuildFailed, match=r"compiling failed \(\[  7%\] Building\)"):
        build_here(settings, index, source)
    assert len(index.requests) == 1


def test_a_library_that_does_not_load_never_gets_its_name(
    index: SimpleIndex, source: PinnedFile, settings: ModelSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUILT", "/etc/hostname")
    with pytest.raises(LibraryBroken):
        build_here(settings, index, source)
    assert native_library(settings.cache_dir or Path()) is None


def test_a_failed_rebuild_leaves_the_old_library(
    index: SimpleIndex, source: PinnedFile, settings: ModelSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_here(settings, index, source)
    before = find_library(cache_dir=settings.cache_dir)
    monkeypatch.setenv("ON_COMPILE", "exit 1")
    with pytest.raises(BuildFailed):
        build_here(settings, index, source)
    assert find_library(cache_dir=settings.cache_dir) == before


BUILD = """
import signal
import sys
import msgspec
from completionist.pinned import PinnedFile
from completionist.engine.llama.build import build
from completionist.errors import OperatorError
from completionist.settings import ModelSettings
signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background of a shell are deaf to it
settings = ModelSettings(cache_dir=sys.argv[1], index_url=sys.argv[2])
source = msgspec.json.decode(sys.argv[3], type=PinnedFile)
try:
    build(settings, "cpu", lambda progress: print(progress.stage, flush=True), source=source)
except OperatorError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def test_ctrl_c_ends_the_compilers_too(
    index: SimpleIndex, source: PinnedFile, settings: ModelSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ON_COMPILE", f"echo $$ > {tmp_path}/pid; echo '[ 10%] x'; sleep 600")
    arguments = [str(settings.cache_dir), index.url, msgspec.json.encode(source).decode()]
    with subprocess.Popen([sys.executable, "-c", BUILD, *arguments], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while (line := process.stdout.readline()) and line != "compiling\n":
            """Until its compiler runs."""
        assert process.stdout.readline() == "compiling\n"  # the second one: the pid is written
        compiler = psutil.Process(int((tmp_path / "pid").read_text()))
        children = [compiler, *compiler.children(recursive=True)]
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert output.splitlines()[-1].startswith("stopped; what is done is kept")
    assert psutil.wait_procs(children, timeout=10)[1] == []
    monkeypatch.setenv("ON_COMPILE", "true")
    build_here(settings, index, source)
    assert len(index.requests) == 1


def test_macs_build_for_metal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert default_accelerator() == "metal"
    monkeypatch.setattr(sys, "platform", "linux")
    assert default_accelerator() == "cpu"
