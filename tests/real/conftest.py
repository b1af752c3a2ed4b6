"""The whole server with the 135M model, as a process of its own, asked through the official client."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import openai
import pytest

from completionist.models.catalog import catalog
from completionist.models.pull import pull
from completionist.settings import DEFAULT_MODEL, ModelSettings


@pytest.fixture(scope="session")
def base_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pull(catalog()[DEFAULT_MODEL], ModelSettings(), lambda _: None)
    environment = {**os.environ, "COMPLETIONIST_ENGINE__STREAMS": "4", "COMPLETIONIST_ENGINE__CONTEXT_TOKENS": "1024"}
    log = tmp_path_factory.mktemp("real") / "log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "completionist", "serve", "--port", "0"],
            stdout=subprocess.PIPE, stderr=errors, text=True, env=environment,
        )  # fmt: skip
    with process:
        assert process.stdout
        banner = ""
        for line in process.stdout:
            banner += line
            if line.startswith("Ready in "):
                break
        address = re.search(r"http://\S+/v1", banner)
        assert address, banner + log.read_text()
        yield address[0]
        process.terminate()
        assert process.wait(timeout=30) == 0


@pytest.fixture
def client(base_url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=base_url, api_key="none", max_retries=0) as client:
        yield client
