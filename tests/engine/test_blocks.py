"""After how many tokens a prompt can be continued: as kernels of all kinds would have it, and as the library's do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from completionist.engine.llama.blocks import LEAST_ROWS, block_rows
from completionist.engine.llama.library import find_library
from completionist.engine.llama.loading import load
from completionist.engine.llama.runner import Context
from tests.engine.test_memory import order


class Kernels:
    """Rows of whole blocks are computed in one way, those left over in another, and every row by all before it."""

    vocabulary_size = 100

    def __init__(self, block: int, *, settings: str = "") -> None:
        self._block = block
        self._settings = settings
        self._rows: list[float] = []
        self.n_calls = 0

    def arithmetic(self) -> str:
        return self._settings

    def forget(self, stream: int) -> None:
        assert stream == 0
        self._rows.clear()

    def logits_behind(self, tokens: list[int], n_known: int) -> np.ndarray:
        self.n_calls += 1
        new = tokens[n_known:]
        n_whole = len(new) // self._block * self._block
        del self._rows[n_known:]
        self._rows += [token + (0.5 if i < n_whole else 0.25) for i, token in enumerate(new)]
        return np.array([sum(self._rows), self._rows[-1]], np.float32)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF")
    return path


def found(kernels: Kernels, model: Path, library: str = "wheel") -> int:
    return block_rows(cast("Context", kernels), model.parent, model, library)


@pytest.mark.parametrize("block", [1, 4, 8])
def test_the_block_of_the_kernels_is_found(model: Path, block: int) -> None:
    assert found(Kernels(block), model) == block


def test_it_is_tried_out_once_for_a_file_a_library_and_settings(model: Path) -> None:
    first, again, others = Kernels(4), Kernels(4), [Kernels(4), Kernels(4, settings="flash"), Kernels(4)]
    assert [found(kernels, model) for kernels in (first, again)] == [4, 4]
    assert first.n_calls
    assert not again.n_calls
    assert [found(others[0], model, "native"), found(others[1], model)] == [4, 4]
    model.write_bytes(b"GGUF, another one")
    assert found(others[2], model) == 4
    assert all(kernels.n_calls for kernels in others)


def test_where_nothing_can_be_kept_it_is_tried_again(model: Path) -> None:
    (model.parent / "blocks").write_bytes(b"no directory")
    assert [found(Kernels(1), model), found(Kernels(8), model)] == [1, 8]


@pytest.fixture(scope="module")
def context(short_model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Context, int]]:
    cache_dir = tmp_path_factory.mktemp("blocks")
    memory = load(order(short_model_path, cache_dir))[0]._memory
    context = memory.pools[0].context
    yield context, block_rows(context, cache_dir, short_model_path, find_library().description)
    context.forget(0)


@pytest.mark.model
@pytest.mark.parametrize("n_tokens", [24, 37, 59])
def test_a_prompt_that_is_continued_there_has_the_logits_of_a_cold_run(
    context: tuple[Context, int], n_tokens: int
) -> None:
    runner, rows = context
    tokens = [11 * i % runner.vocabulary_size for i in range(1, n_tokens + 1)]
    cold = runner.logits_behind(tokens, 0)
    places = range(rows, n_tokens - max(rows, LEAST_ROWS) + 1, rows)
    for n_known in sorted(places, reverse=True):
        assert np.array_equal(runner.logits_behind(tokens, n_known), cold)
