"""Which processors the threads of a worker may run on."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import msgspec
import pytest

from completionist.engine.base import GrammarSpec
from completionist.engine.client import EngineClient
from completionist.engine.launch import Beside
from completionist.engine.llama.launch import launch, openmp_environment
from completionist.engine.llama.quota import are_all
from completionist.settings import EngineSettings
from tests.engine.asking import ask, prompt

if not hasattr(os, "sched_getaffinity"):
    pytest.skip("threads cannot be bound here", allow_module_level=True)

ALL = os.sched_getaffinity(0)


def test_threads_are_bound_where_there_are_as_many_as_processors() -> None:
    bound = {threads for threads in range(1, len(ALL) + 2) if "OMP_PROC_BIND" in openmp_environment(threads)}
    assert bound == {len(ALL)} - {1}


@pytest.mark.model
@pytest.mark.parametrize("beside", ["nothing", "models"])
def test_each_thread_of_a_step_has_a_processor_and_the_others_have_all(short_model_path: Path, beside: Beside) -> None:
    async def scenario() -> list[set[int]]:
        settings = EngineSettings(threads=len(ALL), streams=2, context_tokens=256)
        engine = EngineClient(launch(short_model_path, "short", settings, beside=beside))
        await engine.start()
        try:
            held = GrammarSpec('start: "yes" | "no"', has_client_rules=True)
            await ask(engine, prompt("A first step."))
            answer = await ask(engine, msgspec.structs.replace(prompt("Yes? " * 60), grammar=held))
            assert answer.pieces[0] in {b"yes", b"no"}
            assert engine.pid is not None
            threads = Path(f"/proc/{engine.pid}/task").iterdir()  # noqa: ASYNC240 (nothing else runs on this loop)
            return [os.sched_getaffinity(int(thread.name)) for thread in threads]
        finally:
            await engine.close()

    places = asyncio.run(scenario())
    bound = [place for place in places if place != ALL]
    assert sorted(map(sorted, bound)) == ([[processor] for processor in sorted(ALL)] if are_all(len(ALL)) else [])
    assert len(places) > len(bound), "the threads that tokenise and compile"
