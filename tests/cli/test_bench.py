"""`bench` as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from completionist.engine.llama.costs import kept
from completionist.engine.llama.library import find_library
from completionist.models.catalog import catalog
from completionist.models.pull import pull
from completionist.settings import DEFAULT_MODEL, ModelSettings
from tests.cli.conftest import Cli, one_line
from tests.engine.tiny_models import write_plain


def test_bench_shows_our_figures_beside_the_librarys(cli: Cli, tmp_path: Path) -> None:
    check(cli, write_plain(tmp_path / "tiny.gguf"), tmp_path)


@pytest.mark.large
@pytest.mark.model
def test_bench_with_a_real_model(cli: Cli, tmp_path: Path) -> None:
    check(cli, pull(catalog()[DEFAULT_MODEL], ModelSettings(), lambda _: None).path, tmp_path)


def check(cli: Cli, model: Path, tmp_path: Path) -> None:
    completed = cli("bench", str(model), "--quick", "--threads", "1", "--json", XDG_CACHE_HOME=str(tmp_path))
    assert completed.returncode == 0, completed.stderr
    found = json.loads(completed.stdout)
    assert (found["threads"], found["streams"], found["is_kept"]) == (1, 4, False)
    for who in ("ours", "bare"):
        assert all(found[who][figure] > 0 for figure in ("one_per_s", "many_per_s", "prompt_per_s"))
    assert list(found["by_threads"]) == ["1"]
    assert "our engine: 4 streams" in completed.stderr
    assert not list(tmp_path.rglob("costs"))


def test_bench_keeps_what_it_measured_well(cli: Cli, tmp_path: Path) -> None:
    model = write_plain(tmp_path / "tiny.gguf")
    completed = cli("bench", str(model), "--threads", "1", XDG_CACHE_HOME=str(tmp_path))
    assert completed.returncode == 0, completed.stderr
    assert "16 streams" in completed.stdout
    assert "kept for later starts" in completed.stdout
    assert kept(tmp_path / "completionist", model, find_library(cache_dir=tmp_path).description)


def test_a_file_that_is_no_model_is_one_line(cli: Cli, tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF and nothing else")
    completed = cli("bench", str(broken), "--quick", "--threads", "1")
    assert completed.returncode == 1
    assert "broken.gguf" in one_line(completed)
