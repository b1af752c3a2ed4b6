from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from completionist.settings import ModelSettings

from .hub_server import HubServer, serving_hub
from .simple_index import SimpleIndex, serving


@pytest.fixture
def index() -> Iterator[SimpleIndex]:
    with serving() as running:
        yield running


@pytest.fixture
def settings(tmp_path: Path, index: SimpleIndex) -> ModelSettings:
    return ModelSettings(cache_dir=tmp_path / "cache", index_url=index.url)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    """A hub, and an environment that names it, with an empty cache."""
    for variable in [name for name in os.environ if name.startswith(("HF_", "HUGGING"))]:
        monkeypatch.delenv(variable)
    with serving_hub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.endpoint)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        yield running
