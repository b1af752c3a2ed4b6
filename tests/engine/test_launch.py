"""What begins before the server is imported, and stays small for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from completionist.engine.launch import Beside
from completionist.engine.llama.launch import launch
from completionist.engine.llama.quota import are_all, processors
from completionist.gently import BESIDE_ANSWERS, ON_ONE_PROCESSOR
from completionist.loading import loading
from completionist.models.installed import ModelFile
from completionist.settings import EngineSettings, Settings

_BEFORE_THE_WORKER = (
    "completionist.cli.serve",
    {"uvicorn", "starlette", "numpy", "rich", "sqlalchemy", "httpx2", "completionist.app"},
)
_IN_THE_WORKER = ("completionist.engine.llama.worker", {"asyncio", "pydantic", "completionist.settings", "sqlalchemy"})


def test_a_worker_that_nobody_took_over_is_ended() -> None:
    file = ModelFile(path=Path("nowhere.gguf"), name="nowhere", publisher="local", sha256=None, added_at_s=0)
    with loading(file, Settings()) as model:
        assert model.worker.process.poll() is None
    assert model.worker.process.returncode is not None
    assert model.worker.connection.fileno() == -1


@pytest.mark.parametrize(("module", "too_slow"), [_BEFORE_THE_WORKER, _IN_THE_WORKER])
def test_a_start_does_not_wait_for_imports_that_it_can_do_without(module: str, too_slow: set[str]) -> None:
    said = subprocess.run(
        [sys.executable, "-c", f"import sys, {module}; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    assert set(said.stdout.split()) & too_slow == set()


@pytest.mark.parametrize("threads", {1, processors()})
@pytest.mark.parametrize("beside", ["nothing", "models", "answers"])
def test_a_worker_is_held_back_by_what_it_would_disturb(beside: Beside, threads: int) -> None:
    _, *options, worker = launch(
        Path("nowhere.gguf"), "nowhere", EngineSettings(threads=threads), beside=beside
    ).command
    assert worker == "completionist.engine.llama.worker"
    assert ("completionist.gently" in options) == (beside != "nothing")
    assert (ON_ONE_PROCESSOR in options) == (beside != "nothing" and are_all(threads))
    assert (BESIDE_ANSWERS in options) == (beside == "answers" and are_all(threads))


_HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_HUGE_KB_OF_AN_ARRAY = """
import numpy, re
array = numpy.ones(1 << 26, numpy.uint8)
print(re.search(r"AnonHugePages: +(\\d+)", open("/proc/self/smaps_rollup").read())[1])
"""


@pytest.mark.skipif(
    not _HUGE_PAGES.exists() or "[madvise]" not in _HUGE_PAGES.read_text(),
    reason="huge pages are not left to programs here",
)
def test_a_worker_does_not_wait_for_huge_pages() -> None:
    environment = launch(Path("nowhere.gguf"), "nowhere", EngineSettings()).environment
    said = subprocess.run(
        [sys.executable, "-c", _HUGE_KB_OF_AN_ARRAY], env=environment, capture_output=True, text=True, check=True
    )
    assert int(said.stdout) == 0
