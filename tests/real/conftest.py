"""The whole server with the 135M model, or with the beginning of it, asked through the official client."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from tests.support.ask import official


@pytest.fixture
def short_client(short_url: str) -> Iterator[openai.OpenAI]:
    """Of the shortened model, for what holds whatever it says."""
    with official(short_url, api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def client(real_url: str) -> Iterator[openai.OpenAI]:
    with official(real_url, api_key="none", max_retries=0) as client:
        yield client
