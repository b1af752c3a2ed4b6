"""What begins before the server is imported, and stays small for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from completionist.loading import loading
from completionist.models.installed import ModelFile
from completionist.settings import Settings

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
