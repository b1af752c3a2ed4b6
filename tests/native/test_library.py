"""The configured file, then a native build for this processor, then the wheel's; each absence says how to mend it."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from completionist.engine.llama.library import (
    PINNED_VERSION,
    ConfiguredLibraryMissing,
    WheelMismatch,
    WheelMissing,
    build_flags,
    find_library,
    native_path,
    processor_features,
)
from completionist.engine.llama.show import LibraryBroken, building_pays, show, system_info
from completionist.settings import EngineSettings, ModelSettings

FIND = """
import sys
from pathlib import Path
from completionist.engine.llama.library import LibraryMissing, find_library
try:
    print(find_library(cache_dir=Path("/no/such/cache")).description, "xllamacpp" in sys.modules)
except LibraryMissing as missing:
    print(missing)
"""


def find_in_a_process(**environment: str) -> str:
    environment = {**os.environ, **environment}
    found = subprocess.run([sys.executable, "-c", FIND], env=environment, capture_output=True, text=True, check=True)
    return found.stdout.strip()


def test_the_wheels_file_is_found_without_importing_its_package() -> None:
    assert find_in_a_process() == f"xllamacpp {PINNED_VERSION} (wheel) False"


def test_a_missing_openmp_names_its_packages(tmp_path: Path) -> None:
    (tmp_path / "libgomp.so.1").touch()  # found first, and no library
    said = find_in_a_process(LD_LIBRARY_PATH=str(tmp_path))
    assert said.startswith("libgomp.so.1 is missing")
    assert "apt install libgomp1" in said


def test_a_configured_file_comes_first(tmp_path: Path) -> None:
    path = tmp_path / "mine.so"
    with pytest.raises(ConfiguredLibraryMissing, match=rf"{path}: correct engine\.library"):
        find_library(path)
    path.touch()
    assert find_library(path).path == path


def test_the_newest_native_build_comes_before_the_wheel(tmp_path: Path) -> None:
    for age, accelerator in enumerate(("cuda", "cpu")):
        path = native_path(tmp_path, accelerator)  # type: ignore[arg-type]  # both are accelerators
        path.parent.mkdir(parents=True)
        path.touch()
        os.utime(path, (1000 - age, 1000 - age))
    library = find_library(cache_dir=tmp_path)
    assert library.path == native_path(tmp_path, "cuda")
    assert library.description == f"native build {PINNED_VERSION} (cuda) for this processor"


def test_a_build_for_another_processor_is_not_used(tmp_path: Path) -> None:
    path = native_path(tmp_path, "cpu")
    other = path.parent.with_name(path.parent.name[:-16] + "0" * 16)
    other.mkdir(parents=True)
    (other / path.name).touch()
    assert find_library(cache_dir=tmp_path).description.endswith("(wheel)")


def test_the_key_changes_with_the_flags(tmp_path: Path) -> None:
    assert native_path(tmp_path, "cpu").parent != native_path(tmp_path, "vulkan").parent
    assert native_path(tmp_path, "cpu") == native_path(tmp_path, "cpu")
    assert build_flags("cpu")["GGML_CUDA"] == "OFF"
    assert build_flags("cuda")["GGML_CUDA"] == "ON"
    assert build_flags("cuda")["GGML_LLAMAFILE"] == "OFF"


def test_the_processor_is_known_by_what_it_can_do() -> None:
    features = processor_features()
    assert list(features) == sorted(set(features))
    assert len(features) > 3


@pytest.fixture
def bare_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An interpreter that sees the standard library and one directory."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), sysconfig.get_path("stdlib")])
    return tmp_path


def install_metadata(directory: Path, version: str) -> None:
    information = directory / f"xllamacpp-{version}.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: xllamacpp\nVersion: {version}\n")


def test_a_missing_wheel_says_what_to_install(bare_path: Path) -> None:
    with pytest.raises(WheelMissing, match=f"pip install xllamacpp=={PINNED_VERSION}"):
        find_library(cache_dir=bare_path)
    install_metadata(bare_path, PINNED_VERSION)  # as a broken installation leaves it
    with pytest.raises(WheelMissing):
        find_library(cache_dir=bare_path)


def test_another_version_is_refused(bare_path: Path) -> None:
    install_metadata(bare_path, "2026.1.1")
    with pytest.raises(WheelMismatch, match=r"xllamacpp 2026\.1\.1 is installed, not the pinned one"):
        find_library(cache_dir=bare_path)


def test_show_names_library_features_and_advice(tmp_path: Path) -> None:
    report = show(EngineSettings(), ModelSettings(cache_dir=tmp_path))
    assert report.library.description == f"xllamacpp {PINNED_VERSION} (wheel)"
    assert "CPU" in report.system_info
    assert report.advice == building_pays(processor_features())


def test_building_pays_where_it_was_measured_to() -> None:
    assert building_pays(["avx2", "avx512f"]).startswith("building pays")
    assert building_pays(["avx2"]).startswith("building would not pay")
    assert building_pays(["asimd"]).startswith("building may pay: not measured")


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "file too short"), (b"no library at all, just text" * 100, "invalid ELF header")]
)
@pytest.mark.skipif(sys.platform != "linux", reason="the loader's words")
def test_a_file_that_does_not_load_is_refused_by_name(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "x.so").write_bytes(content)
    with pytest.raises(LibraryBroken, match=rf"x\.so does not load on this machine \(.*{reason}"):
        system_info(tmp_path / "x.so")


@pytest.mark.skipif(sys.platform != "linux", reason="names a library of Linux")
def test_a_library_without_the_entry_points_is_refused() -> None:
    with pytest.raises(LibraryBroken, match="undefined symbol: llama_decode"):
        system_info(Path("libgomp.so.1"))
