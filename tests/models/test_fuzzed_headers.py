"""Headers that were damaged at random are read or refused, in little time and memory; nothing else ever comes of them."""

from __future__ import annotations

import tracemalloc
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from completionist.cli.show import shown_model
from completionist.errors import OperatorError
from completionist.models.gguf import BrokenModelFile, check_gguf
from completionist.models.header import Broken, facts_of_beginning
from completionist.models.installed import ModelFile
from completionist.settings import Settings
from tests.cli.test_models import MODEL

N_FILES = 400
HEADER_BYTES = len(MODEL) - 4000
MAX_BYTES = 4 * 2**20
"""Some for Python's own, none for what a header announces."""
_INTERESTING = (0, 1, 7, 0x7F, 0x80, 0xFF)


def damaged(random: Random) -> bytes:
    """A header with a few bytes changed, a run of them set alike, cut out or doubled."""
    content = bytearray(MODEL)
    for _ in range(random.randint(1, 4)):
        at, length = random.randrange(4, HEADER_BYTES), random.choice((1, 1, 2, 4, 8))
        match random.randrange(4):
            case 0:
                content[at : at + length] = random.randbytes(length)
            case 1:
                content[at : at + length] = bytes([random.choice(_INTERESTING)]) * length
            case 2:
                del content[at : at + length]
            case _:
                content[at:at] = content[at : at + length]
    return bytes(content)


def test_a_damaged_header_is_read_or_refused(tmp_path: Path) -> None:
    random, path, settings = Random(57), tmp_path / "m.gguf", Settings()  # noqa: S311 - a repeatable walk
    model = ModelFile(path=path, name="m", publisher="p", sha256=None, added_at_s=0)
    n_read = 0
    for _ in range(N_FILES):
        content = damaged(random)
        path.write_bytes(content)
        with suppress(Broken):
            facts_of_beginning(content[: random.randrange(len(content))], 10**9)
        with suppress(BrokenModelFile):
            check_gguf(path)
            n_read += 1
        with suppress(OperatorError):
            shown_model(model, settings)
    assert N_FILES / 20 < n_read < N_FILES * 19 / 20


def test_nothing_is_allocated_by_what_a_header_announces(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(MODEL)
    lengths = [at for at in range(24, HEADER_BYTES - 8) if MODEL[at + 1 : at + 8] == bytes(7)]
    tracemalloc.start()
    try:
        for at in lengths[::3]:
            path.write_bytes(MODEL[:at] + (2**40).to_bytes(8, "little") + MODEL[at + 8 :])
            with suppress(BrokenModelFile):
                check_gguf(path)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(lengths) > 20
    assert peak_bytes < MAX_BYTES


@pytest.mark.parametrize(
    ("key", "value"),
    [("block_count", 0), ("block_count", 10**9), ("context_length", 2**32 - 1), ("embedding_length", 0)],
)
def test_sizes_that_no_model_has_are_refused_by_name(tmp_path: Path, key: str, value: int) -> None:
    name = f"llama.{key}".encode()
    at = MODEL.index(name) + len(name) + 4
    path = tmp_path / "m.gguf"
    path.write_bytes(MODEL[:at] + value.to_bytes(4, "little") + MODEL[at + 4 :])
    with pytest.raises(BrokenModelFile, match=f"its {key} is {value:,}"):
        check_gguf(path)
