from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from completionist.settings import ModelSettings

from .simple_index import SimpleIndex, serving


@pytest.fixture
def index() -> Iterator[SimpleIndex]:
    with serving() as running:
        yield running


@pytest.fixture
def settings(tmp_path: Path, index: SimpleIndex) -> ModelSettings:
    return ModelSettings(cache_dir=tmp_path / "cache", index_url=index.url)
