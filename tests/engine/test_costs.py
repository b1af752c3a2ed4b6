"""The thread count and the costs that the benchmark command keeps for the machine and file that they were measured with."""

from __future__ import annotations

from pathlib import Path

from completionist.engine.llama.costs import Costs, Measured, keep, kept
from completionist.engine.llama.launch import launch
from completionist.engine.llama.library import find_library
from completionist.engine.llama.quota import processors
from completionist.settings import EngineSettings

MEASURED = Measured(threads=processors() + 1, costs=Costs(call_ms=3.0, row_ms=2.0, cell_ms=0.001))


def test_what_was_measured_is_kept_for_this_file_and_library_only(tmp_path: Path) -> None:
    model = tmp_path / "model.gguf"
    model.write_bytes(b"GGUF")
    assert kept(tmp_path, model, "wheel") is None
    keep(tmp_path, model, "wheel", MEASURED)
    assert kept(tmp_path, model, "wheel") == MEASURED
    assert kept(tmp_path, model, "native") is None
    model.write_bytes(b"GGUF, another one")
    assert kept(tmp_path, model, "wheel") is None


def test_a_damaged_record_counts_as_none(tmp_path: Path) -> None:
    model = tmp_path / "model.gguf"
    model.write_bytes(b"GGUF")
    keep(tmp_path, model, "wheel", MEASURED)
    (record,) = (tmp_path / "costs").iterdir()
    record.write_bytes(b"{")
    assert kept(tmp_path, model, "wheel") is None


def test_a_worker_starts_with_the_measured_threads_unless_told_otherwise(tmp_path: Path) -> None:
    model = tmp_path / "model.gguf"
    model.write_bytes(b"GGUF")

    def threads(settings: EngineSettings) -> int:
        return launch(model, "m", settings, cache_dir=tmp_path).load.threads

    assert threads(EngineSettings()) == processors()
    keep(tmp_path, model, find_library(cache_dir=tmp_path).description, MEASURED)
    assert threads(EngineSettings()) == MEASURED.threads
    assert threads(EngineSettings(threads=1)) == 1
