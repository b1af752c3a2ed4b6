"""Frames on a byte stream, and the mailbox that hands events to a reader."""

from __future__ import annotations

import asyncio
import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from completionist.engine.base import (
    Accepted,
    ControlToken,
    End,
    Failed,
    PlainText,
    Prompt,
    QueueFull,
    Sampling,
    Token,
    TokenEvent,
)
from completionist.engine.frames import Cancel, Command, Ping, Report, Splitter, Stats, Step, Stop, Submit, frame
from completionist.engine.mailbox import Mailbox

COMMANDS: tuple[Command, ...] = (
    Submit(
        1,
        Prompt(
            project="p",
            segments=(ControlToken(1), PlainText("häy\0")),
            sampling=Sampling(seed=-(2**63)),
        ),
    ),
    Stop(1, 0),
    Ping(),
    Cancel(1),
)


@given(cuts=st.lists(st.integers(0, 200), max_size=12))
def test_commands_survive_any_split(cuts: list[int]) -> None:
    stream = b"".join(map(frame, COMMANDS))
    splitter, decoder = Splitter(), msgspec.msgpack.Decoder[Command](Command)
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    bodies = [body for start, end in itertools.pairwise(edges) for body in splitter.feed(stream[start:end])]
    assert tuple(map(decoder.decode, bodies)) == COMMANDS


def test_a_step_carries_every_kind_of_event() -> None:
    step = Step(
        events=((1, Accepted(3)), (1, Token(0, 17, b"\xff")), (2, End(1, "length")), (3, Failed(QueueFull()))),
        stats=Stats(running=2, generated_tokens_total=9),
    )
    (body,) = Splitter().feed(frame(step))
    assert msgspec.msgpack.decode(body, type=Report) == step


def mailbox(n_choices: int, calls: list[object] | None = None) -> Mailbox:
    seen = calls if calls is not None else []
    return Mailbox(n_choices=n_choices, stop=seen.append, cancel=lambda: seen.append("cancel"))


def test_a_mailbox_ends_after_the_last_choice() -> None:
    async def read() -> list[TokenEvent]:
        box = mailbox(2)
        reader = asyncio.create_task(_drain(box))
        for event in (Accepted(1), Token(0, 1, b""), End(0, "length")):
            await asyncio.sleep(0)
            box.deliver(event)
        assert not reader.done()
        box.deliver(End(1, "stopped"))
        return await reader

    assert len(asyncio.run(read())) == 4


def test_cancelling_drops_what_was_not_read_and_is_idempotent() -> None:
    async def read() -> list[TokenEvent]:
        box.deliver(Accepted(1))
        box.cancel()
        box.cancel()
        box.stop(0)
        return await _drain(box)

    calls: list[object] = []
    box = mailbox(1, calls)
    assert asyncio.run(read()) == []
    assert calls == ["cancel"]


def test_cancelling_wakes_a_waiting_reader() -> None:
    async def read() -> list[TokenEvent]:
        box = mailbox(1)
        reader = asyncio.create_task(_drain(box))
        await asyncio.sleep(0)
        box.cancel()
        return await reader

    assert asyncio.run(read()) == []


def test_a_reader_that_gives_up_leaves_its_events_for_the_next() -> None:
    async def read() -> TokenEvent:
        box = mailbox(1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(box.__anext__(), 0.01)
        box.deliver(Accepted(5))
        return await box.__anext__()

    assert asyncio.run(read()) == Accepted(5)


async def _drain(box: Mailbox) -> list[TokenEvent]:
    return [event async for event in box]
