"""The locks: complete, hashed, and without a word about where the files come from."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = {name: (ROOT / "requirements" / f"{name}.txt").read_text() for name in ("serve", "test")}
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())


def entries(lock: str) -> dict[str, str]:
    """Requirement line → its whole entry, continuation lines included."""
    joined = LOCKS[lock].replace("\\\n", " ")
    return {line.split(" ")[0]: line for line in joined.splitlines() if line.strip()}


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\s<>=;\[]", requirement)[0].lower() for requirement in requirements}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_entry_is_pinned_and_hashed(lock: str) -> None:
    for requirement, entry in entries(lock).items():
        assert re.fullmatch(r"[a-z0-9._-]+==[a-z0-9.]+", requirement)
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry)


@pytest.mark.parametrize("lock", LOCKS)
def test_no_lock_says_where_files_come_from(lock: str) -> None:
    assert not re.search(r"https?:|file:|@|--index|--extra|--find|//", LOCKS[lock])


def test_every_dependency_is_locked() -> None:
    groups = PROJECT["dependency-groups"]
    served = names(PROJECT["project"]["dependencies"]) | names(groups["build"])
    assert served <= {requirement.split("==")[0] for requirement in entries("serve")}
    assert served | names(groups["dev"]) <= {requirement.split("==")[0] for requirement in entries("test")}


def test_tests_run_with_the_versions_that_are_served() -> None:
    assert set(entries("serve")) <= set(entries("test"))


def test_the_build_backend_is_the_one_that_the_project_names() -> None:
    assert set(PROJECT["build-system"]["requires"]) <= set(entries("serve"))
