"""Prompts for the real model and the folding of what comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from completionist.engine.base import (
    Accepted,
    ControlToken,
    End,
    EndReason,
    Evaluated,
    Failed,
    Fault,
    Generation,
    PlainText,
    Prompt,
    Sampling,
    Segment,
    Tier,
    Token,
    TokenEngine,
)
from completionist.engine.llama.loop import Engine
from completionist.engine.llama.sequence import Request

IM_START, IM_END = ControlToken(1), ControlToken(2)


def chat(text: str) -> tuple[Segment, ...]:
    """A user turn as the 135M model's template writes it."""
    return (IM_START, PlainText(f"user\n{text}"), IM_END, PlainText("\n"), IM_START, PlainText("assistant\n"))


def prompt(
    text: str,
    *,
    n: int = 1,
    max_tokens: int | None = 12,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 7,
    project: str = "default",
) -> Prompt:
    sampling = Sampling(temperature=temperature, top_p=top_p, seed=seed)
    return Prompt(project=project, segments=chat(text), n=n, max_tokens=max_tokens, sampling=sampling)


def request(
    request_id: int,
    *,
    tokens: list[int],
    project: str = "default",
    key: str = "",
    tier: Tier = "default",
    arrived_s: float = 0.0,
) -> Request:
    """A request as the worker keeps it, with one choice."""
    return Request(
        id=request_id,
        project=project,
        key=key,
        tier=tier,
        arrived_s=arrived_s,
        tokens=tokens,
        sampling=Sampling(seed=1),
        max_tokens=None,
        choices_waiting=[0],
    )


@dataclass
class Answer:
    """Everything one request brought, in the order in which it came."""

    tokens: dict[int, list[int]] = field(default_factory=dict)
    pieces: dict[int, bytes] = field(default_factory=dict)
    ends: dict[int, EndReason] = field(default_factory=dict)
    accepted: Accepted | None = None
    evaluated: Evaluated | None = None
    fault: Fault | None = None

    def add(self, event: object) -> None:
        """Fold one event in, checking the order that the seam promises."""
        assert self.fault is None
        match event:
            case Accepted():
                assert self.accepted is None
                self.accepted = event
            case Evaluated():
                assert self.accepted is not None
                assert self.evaluated is None
                self.evaluated = event
            case Token():
                assert self.evaluated is not None
                assert event.index not in self.ends
                self.tokens.setdefault(event.index, []).append(event.id)
                self.pieces[event.index] = self.pieces.get(event.index, b"") + event.piece
            case End():
                assert event.index not in self.ends
                self.ends[event.index] = event.reason
            case Failed():
                assert not self.ends
                self.fault = event.fault


async def collect(generation: Generation) -> Answer:
    answer = Answer()
    async for event in generation:
        answer.add(event)
    return answer


async def ask(engine: TokenEngine, request: Prompt) -> Answer:
    return await collect(engine.submit(request))


async def until(condition: Callable[[], object]) -> None:
    """Give way until `condition` holds; the test's timeout ends it otherwise."""
    while not condition():  # noqa: ASYNC110 - what is waited for belongs to the engine, which offers no event
        await asyncio.sleep(0.001)


def has_work(engine: Engine) -> bool:
    """Some choice runs, waits, or is being prepared."""
    stats = engine.stats()
    return stats.running + stats.waiting > 0
