"""Rests behind the steps of a model while another one is loaded."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from completionist.engine.client import EngineClient
from completionist.engine.llama.launch import launch
from completionist.engine.llama.worker import Rests
from completionist.settings import EngineSettings
from tests.engine.asking import ask, prompt

if not hasattr(os, "sched_getaffinity"):
    pytest.skip("it is not known here which processors a process may use", allow_module_level=True)

N_PROCESSORS = len(os.sched_getaffinity(0))


@pytest.mark.parametrize("are_wanted", [True, False])
@pytest.mark.parametrize("threads", {1, N_PROCESSORS})
def test_a_rest_is_a_share_of_the_step_where_that_had_all_processors(
    monkeypatch: pytest.MonkeyPatch, threads: int, are_wanted: bool
) -> None:
    slept_s: list[float] = []
    monkeypatch.setattr(time, "sleep", slept_s.append)
    rests = Rests(threads)
    rests.are_wanted = are_wanted
    rests.after(2.0)
    is_needed = are_wanted and threads == N_PROCESSORS > 1
    assert [seconds for seconds in slept_s if seconds] == ([pytest.approx(0.24)] if is_needed else [])


@pytest.mark.model
def test_an_engine_that_rests_says_the_same(short_model_path: Path) -> None:
    async def scenario() -> list[dict[int, bytes]]:
        engine = EngineClient(launch(short_model_path, "short", EngineSettings(streams=1, context_tokens=256)))
        await engine.start()
        answers = []
        try:
            for is_wanted in (True, False):
                engine.rest(is_wanted=is_wanted)
                answers.append((await ask(engine, prompt("Once upon a time"))).pieces)
        finally:
            await engine.close()
        return answers

    resting, usual = asyncio.run(scenario())
    assert resting
    assert resting == usual
