"""The guard of event loops sees what it is there to see."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from tests.support.guard import MAX_CALLBACK_S, MAX_ONCE_S, PAUSE_S, WARM_UP_S, LoopGuard


def complaints(work: Callable[[], Coroutine[Any, Any, None]], *, slowness: float = 1.0) -> list[str]:
    guard = LoopGuard(lambda: slowness)

    async def watched() -> None:
        guard.begin()
        await asyncio.sleep(0)
        await warm_up()
        await work()
        await asyncio.sleep(0)
        guard.end()

    asyncio.run(watched())
    return guard.complaints


def spin(seconds: float) -> None:
    end_s = time.thread_time() + seconds
    while time.thread_time() < end_s:
        pass


async def warm_up() -> None:
    end_s = time.thread_time() + WARM_UP_S
    while time.thread_time() < end_s:
        spin(MAX_CALLBACK_S / 5)
        await asyncio.sleep(0)


async def burn() -> None:
    spin(1.5 * MAX_ONCE_S)


async def burn_a_little_twice() -> None:
    for _ in range(2):
        spin(1.6 * MAX_CALLBACK_S)
        await asyncio.sleep(0)


async def open_a_file() -> None:
    Path(__file__).open().close()  # noqa: ASYNC230 (that is the point)


async def look_up_a_name() -> None:
    socket.getaddrinfo("127.0.0.1", 1)


async def connect_and_wait() -> None:
    with socket.socket() as listener, socket.socket() as client:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        client.connect(listener.getsockname())


async def open_a_database() -> None:
    sqlite3.connect(":memory:").close()


@pytest.mark.parametrize(
    "work", [burn, burn_a_little_twice, open_a_file, look_up_a_name, connect_and_wait, open_a_database]
)
def test_it_complains(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    guard = LoopGuard()
    guard.complaints += complaints(work)
    assert guard.complaints
    with pytest.raises(AssertionError):
        guard.check()


async def wait() -> None:
    await asyncio.sleep(0.02)


async def burn_a_little() -> None:
    spin(1.6 * MAX_CALLBACK_S)


async def burn_a_little_after_each_pause() -> None:
    for _ in range(2):
        await asyncio.sleep(1.5 * PAUSE_S)
        spin(1.6 * MAX_CALLBACK_S)


async def work_elsewhere() -> None:
    await asyncio.to_thread(spin, 2 * MAX_ONCE_S)
    await asyncio.to_thread(lambda: Path(__file__).read_text())


async def connect_without_waiting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, listener.getsockname())


@pytest.mark.parametrize(
    "work", [wait, burn_a_little, burn_a_little_after_each_pause, work_elsewhere, connect_without_waiting]
)
def test_it_is_content(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    assert complaints(work) == []


@pytest.mark.parametrize("work", [burn, burn_a_little_twice])
def test_more_is_allowed_where_work_takes_longer(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    assert complaints(work, slowness=2.0) == []


def test_a_blocking_stretch_of_wall_time_alone_is_none() -> None:
    async def preempted() -> None:
        time.sleep(0.02)  # noqa: ASYNC251 (as if another process had the processor)

    assert complaints(preempted) == []
