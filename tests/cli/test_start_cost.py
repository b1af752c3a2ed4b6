"""Commands that only look something up import nothing that takes long: 0.3 s of a processor is all they may take."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    "alembic", "anyio", "asyncio", "cffi", "httpx2", "llguidance", "minijinja", "numpy", "psutil", "psycopg", "rich",
    "sqlalchemy", "starlette", "uvicorn", "uvloop",
}  # fmt: skip


@pytest.mark.parametrize("arguments", [["--help"], ["version"], ["list"], ["ls", "--json"]])
def test_looking_something_up_imports_little(arguments: list[str]) -> None:
    program = f"import sys; from completionist.cli import run; run({arguments}); print(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert not HEAVY & set(loaded.splitlines()[-1].split())


def test_help_imports_no_settings() -> None:
    program = "import sys; from completionist.cli import run; run(['--help']); print(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "pydantic" not in loaded.splitlines()[-1].split()
