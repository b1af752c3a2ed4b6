"""One real engine for the tests that share it, on a loop of its own that lives as long as they do."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from completionist.engine.client import EngineClient
from completionist.engine.llama.launch import launch
from completionist.settings import EngineSettings

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # for the tests that load the library into their own process

STREAMS = 4
CONTEXT_TOKENS = 512


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def engine(runner: asyncio.Runner, short_model_path: Path) -> Iterator[EngineClient]:
    settings = EngineSettings(threads=1, streams=STREAMS, context_tokens=CONTEXT_TOKENS, queue_requests=3)
    client = EngineClient(launch(short_model_path, "tiny", settings))
    runner.run(client.start())
    yield client
    runner.run(client.close())
