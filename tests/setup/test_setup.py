"""scripts/setup: what goes wrong ends in one line that says how to mend it; what is done is not done again."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections import namedtuple
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
NOWHERE = {
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
    "PIP_EXTRA_INDEX_URL": "",
    "PIP_FIND_LINKS": "",
    "PIP_RETRIES": "0",
    "PIP_NO_CACHE_DIR": "1",
}


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The files that the setup needs, in a place of their own."""
    for name in ("scripts", "requirements"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def setup(clone: Path) -> ModuleType:
    """scripts/setup.py of the clone as a module."""
    spec = importlib.util.spec_from_file_location("setup_script", clone / "scripts" / "setup.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def call(clone: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [clone / "scripts" / "setup", "serve"],
        capture_output=True, text=True, env=os.environ | variables, check=False,
    )  # fmt: skip


def test_no_python(clone: Path) -> None:
    done = call(clone, PYTHON="/nowhere/python")
    assert done.returncode == 1
    assert done.stderr.startswith("setup: no Python 3.11 or newer found: install it")
    assert done.stderr.count("\n") == 1


def test_no_network(clone: Path) -> None:
    done = call(clone, **NOWHERE)
    assert done.returncode == 1
    assert "the package index cannot be reached" in done.stderr
    assert done.stderr.count("\n") == 1


def test_no_openmp_runtime(setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr("ctypes.CDLL", missing)
    monkeypatch.setattr("sys.platform", "linux")
    with pytest.raises(setup.SetupFailure, match="apt-get install libgomp1"):
        setup.check_machine(needs_library=True)
    setup.check_machine(needs_library=False)


def test_a_full_disk(setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")  # noqa: PYI024 - stands for the tuple of the standard library
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(10, 10, 0))
    with pytest.raises(setup.SetupFailure, match="free some space"):
        setup.check_machine(needs_library=False)


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "the disk is full"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "differs from its locked hash"),
        ("ERROR: No matching distribution found for x==1", "the package index cannot be reached"),
        ("[Errno 13] Permission denied: '/x'", "check who owns it"),
        ("something else", "remove .venv and repeat"),
    ],
)
def test_every_failure_has_a_remedy(setup: ModuleType, said: str, remedy: str) -> None:
    assert remedy in setup.remedy(said)


def test_nothing_is_done_twice(clone: Path, setup: ModuleType) -> None:
    lock = clone / "requirements" / "serve.txt"
    (clone / ".venv" / "bin").mkdir(parents=True)
    (clone / ".venv" / "bin" / "completionist").touch()
    (clone / ".venv" / "setup-serve.stamp").write_text(setup.fingerprint(lock))
    done = call(clone, **NOWHERE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    lock.write_text(lock.read_text() + "\n")
    assert not setup.is_current(clone / ".venv" / "setup-serve.stamp", lock)


def test_continuous_integration_runs_the_tests() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "make test" in script.read_text()
