"""A worker that dies, hangs or cannot load: what the API process says and does."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import psutil
import pytest

from completionist.engine.base import Evaluated, Token, WorkerLost
from completionist.engine.client import EngineClient, EngineStartFailed
from completionist.engine.llama.launch import launch
from completionist.settings import EngineSettings
from tests.engine.asking import Answer, ask, prompt, until

SETTINGS = EngineSettings(threads=1, streams=2, context_tokens=256)


def client(path: Path, *, hang_after_s: float = 120.0) -> EngineClient:
    return EngineClient(launch(path, "tiny", SETTINGS), hang_after_s=hang_after_s)


@pytest.mark.model
def test_a_killed_worker_is_replaced_and_its_requests_end_once(short_model_path: Path) -> None:
    async def scenario() -> None:
        engine = client(short_model_path)
        await engine.start()
        fingerprint, first_pid = engine.card.fingerprint, engine.pid
        assert first_pid is not None
        running, queued = Answer(), Answer()
        generation, waiting = engine.submit(prompt("Count.", n=2, max_tokens=200)), engine.submit(prompt("Count."))
        queued.add(await anext(waiting))
        assert queued.accepted
        async for event in generation:
            running.add(event)
            if isinstance(event, Token):
                os.kill(first_pid, signal.SIGKILL)
        async for event in waiting:
            queued.add(event)
        assert isinstance(running.fault, WorkerLost)
        assert isinstance(queued.fault, WorkerLost)
        assert running.fault.started
        assert queued.fault.started

        refused = (await ask(engine, prompt("Count."))).fault
        assert isinstance(refused, WorkerLost)
        assert not refused.started
        assert refused.retry_after_s >= 1

        await until(lambda: engine.is_ready)
        assert engine.restarts == 1
        assert engine.pid != first_pid
        assert engine.card.fingerprint == fingerprint
        assert (await ask(engine, prompt("Count.", max_tokens=2))).ends == {0: "length"}
        await engine.close()
        assert not engine.is_ready

    asyncio.run(scenario())


@pytest.mark.model
def test_a_worker_that_stops_reporting_is_replaced(short_model_path: Path) -> None:
    async def scenario() -> None:
        engine = client(short_model_path, hang_after_s=3.0)
        await engine.start()
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGSTOP)
        answer = await ask(engine, prompt("Count."))
        assert answer.fault is not None
        await until(lambda: engine.is_ready)
        assert engine.restarts == 1
        await engine.close()

    asyncio.run(scenario())


@pytest.mark.model
def test_closing_ends_the_worker_and_whatever_runs(short_model_path: Path) -> None:
    async def scenario() -> None:
        engine = client(short_model_path)
        await engine.start()
        assert engine.pid is not None
        worker = psutil.Process(engine.pid)
        generation, answer = engine.submit(prompt("Count.", max_tokens=200)), Answer()
        async for event in generation:
            answer.add(event)
            if isinstance(event, Evaluated):
                await engine.close()
        assert isinstance(answer.fault, WorkerLost)
        assert not worker.is_running()
        assert (await ask(engine, prompt("Count."))).fault is not None

    asyncio.run(scenario())


def test_a_file_that_is_no_model_is_named_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF but not really")

    async def scenario() -> str:
        with pytest.raises(EngineStartFailed) as refused:
            await client(path).start()
        return str(refused.value)

    reason = asyncio.run(scenario())
    assert str(path) in reason
    assert "\n" not in reason


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        with pytest.raises(EngineStartFailed, match="no model file"):
            await client(tmp_path / "absent.gguf").start()

    asyncio.run(scenario())


def test_a_worker_that_dies_while_loading_is_a_failed_start(tmp_path: Path) -> None:
    async def scenario() -> None:
        started = launch(tmp_path / "any.gguf", "tiny", SETTINGS)
        dying = EngineClient(type(started)(command=("/bin/false",), environment=started.environment, load=started.load))
        with pytest.raises(EngineStartFailed, match="died"):
            await dying.start()

    asyncio.run(scenario())
