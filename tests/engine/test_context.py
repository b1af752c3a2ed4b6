"""The context is what was asked for, although the library rounds its cells up."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from completionist.engine.base import PromptTooLong
from completionist.engine.client import EngineClient
from completionist.engine.llama.launch import launch
from completionist.settings import EngineSettings
from tests.engine.asking import ask, prompt

CONTEXT_TOKENS = 100


@pytest.mark.model
def test_a_sequence_holds_no_more_than_was_asked_for(short_model_path: Path) -> None:
    async def main() -> None:
        engine = EngineClient(
            launch(short_model_path, "tiny", EngineSettings(threads=1, streams=2, context_tokens=CONTEXT_TOKENS))
        )
        await engine.start()
        try:
            assert engine.card.context_tokens == CONTEXT_TOKENS
            long = await ask(engine, prompt("word " * CONTEXT_TOKENS))
            assert isinstance(long.fault, PromptTooLong)
            assert long.fault.context_tokens == CONTEXT_TOKENS
            endless = await ask(engine, prompt("Count from 1 to 1000.", max_tokens=None))
            assert endless.accepted is not None
            assert endless.accepted.prompt_tokens + len(endless.tokens[0]) <= CONTEXT_TOKENS
        finally:
            await engine.close()

    asyncio.run(main())
