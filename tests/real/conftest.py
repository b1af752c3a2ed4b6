"""The whole server with the 135M model, asked through the official client."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest


@pytest.fixture
def client(real_url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=real_url, api_key="none", max_retries=0) as client:
        yield client
