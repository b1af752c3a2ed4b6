"""Imports go downward only: who may know whom."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src"
RANKS = {
    # The longest name that fits a module counts.
    "completionist": 0,
    "completionist.__main__": 7,
    "completionist.cli": 7,
    "completionist.app": 6,
    "completionist.telemetry": 6,
    "completionist.loading": 6,
    "completionist.stock": 6,
    "completionist.api": 5,
    "completionist.local": 4,
    "completionist.otel": 4,
    "completionist.remote": 4,
    "completionist.media": 4,
    "completionist.models": 4,
    "completionist.moderation": 4,
    "completionist.search": 4,
    "completionist.store.sql": 4,
    "completionist.engine.llama": 4,
    "completionist.engine.scripted": 4,
    "completionist.registry": 3,
    "completionist.chat": 3,
    "completionist.dialects": 2,
    "completionist.grammar": 2,
    "completionist.engine": 1,
    "completionist.text": 1,
    "completionist.store": 1,
    "completionist.metrics": 1,
    "completionist.tracing": 1,
}
IMPLEMENTATIONS = 4
"""Named by the composition root and the commands alone; they do not know each other."""
WEB_PACKAGES = {"starlette", "uvicorn", "httptools"}
DATABASE_PACKAGES = {"sqlalchemy", "alembic", "psycopg", "pysqlite3", "sqlite3"}
NATIVE_PACKAGES = {"cffi", "xllamacpp", "llguidance"}
MODULES = sorted(ROOT.rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = frozenset(map(name_of, MODULES))


def part_of(module: str) -> str:
    return max((part for part in RANKS if f"{module}.".startswith(f"{part}.")), key=len)


@cache
def imports_of(path: Path) -> tuple[str, ...]:
    return tuple(_imports_of(path))


def _imports_of(path: Path) -> Iterator[str]:
    """Every module that is imported, whether the name in it is a module or not."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            module = node.module or ""
            for alias in node.names:
                inner = f"{module}.{alias.name}"
                yield inner if inner in NAMES else module


def own_imports() -> Iterator[tuple[str, str]]:
    for path in MODULES:
        yield from ((name_of(path), name) for name in imports_of(path) if name.startswith("completionist"))


def test_the_ranks_name_real_parts() -> None:
    planned = {"completionist.remote"}
    modules = {name_of(path) for path in MODULES}
    missing = {part for part in RANKS if not any(f"{m}.".startswith(f"{part}.") for m in modules)}
    assert missing <= planned


def may_import(module: str, imported: str) -> bool:
    own, other = part_of(module), part_of(imported)
    if RANKS[other] == IMPLEMENTATIONS and RANKS[own] in {4, 5}:
        return own == other
    return RANKS[other] <= RANKS[own]


def test_imports_go_downward() -> None:
    assert [f"{module} imports {name}" for module, name in own_imports() if not may_import(module, name)] == []


@pytest.mark.parametrize(
    ("packages", "homes"),
    [
        (WEB_PACKAGES, ("completionist.api",)),
        (DATABASE_PACKAGES, ("completionist.store.sql", "completionist.search.index")),
        (NATIVE_PACKAGES, ("completionist.engine.llama", "completionist.grammar")),
    ],
)
def test_some_libraries_have_one_home(packages: set[str], homes: tuple[str, ...]) -> None:
    astray = [
        f"{name_of(path)} imports {imported}"
        for path in MODULES
        for imported in imports_of(path)
        if imported.partition(".")[0] in packages and not name_of(path).startswith(homes)
    ]
    assert astray == []
