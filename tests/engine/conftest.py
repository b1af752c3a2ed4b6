"""One real engine for the tests that share it, on a loop of its own that lives as long as they do."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from completionist.engine.client import EngineClient
from completionist.engine.llama.launch import launch
from completionist.models.catalog import catalog
from completionist.models.pull import pull
from completionist.settings import DEFAULT_MODEL, EngineSettings, ModelSettings
from tests.engine.shortened import write_shortened

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # for the tests that load the library into their own process

STREAMS = 4
CONTEXT_TOKENS = 512


@pytest.fixture(scope="session")
def model_path() -> Path:
    """The 135M model: a file of your own, or the one in the user's cache, fetched where it is missing."""
    if configured := os.environ.get("COMPLETIONIST_TEST_MODEL"):
        return Path(configured)
    return pull(catalog()[DEFAULT_MODEL], ModelSettings(), lambda _: None).path


@pytest.fixture(scope="session")
def short_model_path(model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two of its layers, for tests of where cells go: what the model says is another matter."""
    return write_shortened(model_path, tmp_path_factory.mktemp("short") / "short.gguf")


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def engine(runner: asyncio.Runner, model_path: Path) -> Iterator[EngineClient]:
    settings = EngineSettings(threads=1, streams=STREAMS, context_tokens=CONTEXT_TOKENS, queue_requests=3)
    client = EngineClient(launch(model_path, "tiny", settings))
    runner.run(client.start())
    yield client
    runner.run(client.close())
