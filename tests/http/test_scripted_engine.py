"""The scripted engine keeps the rules of `engine.base`."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from completionist.engine.base import (
    Accepted,
    ControlToken,
    End,
    Evaluated,
    Failed,
    Generation,
    PlainText,
    Prompt,
    PromptTooLong,
    QueueFull,
    Sampling,
    Token,
    TokenEvent,
    WorkerFault,
    WorkerLost,
)
from completionist.engine.scripted import (
    CARD,
    Control,
    Crash,
    Finish,
    Move,
    Pause,
    Predicted,
    Script,
    ScriptedEngine,
    friendly,
    pieces,
)

SMALL = msgspec.structs.replace(CARD, streams=2, context_tokens=10)


def prompt(text: str = "one two", n: int = 1, max_tokens: int | None = None) -> Prompt:
    segments = (ControlToken(1), PlainText(text))
    return Prompt(project="p", segments=segments, n=n, max_tokens=max_tokens, sampling=Sampling(seed=1))


def run(script: Script, use: Callable[[ScriptedEngine], Coroutine[Any, Any, Any]], **options: Any) -> Any:
    async def main() -> Any:
        engine = ScriptedEngine(script, **options)
        try:
            return await use(engine)
        finally:
            await engine.close()

    return asyncio.run(main())


async def events(generation: Generation) -> list[TokenEvent]:
    return [event async for event in generation]


def test_a_script_may_do_what_a_model_does_under_a_grammar_or_a_prediction() -> None:
    moves: list[Move] = [b"a", Control("<|im_start|>"), Predicted(5, 2), Finish()]
    got = run(lambda _: [moves], lambda engine: events(engine.submit(prompt())))
    assert [(event.id == 1, event.piece) for event in got if isinstance(event, Token)] == [(False, b"a"), (True, b"")]
    assert got[-1] == End(0, "end_of_turn", accepted_prediction_tokens=5, rejected_prediction_tokens=2)


def test_a_request_from_acceptance_to_its_ends() -> None:
    got = run(lambda _: [[b"a"], []], lambda engine: events(engine.submit(prompt(n=2))))
    assert got[:2] == [Accepted(prompt_tokens=3), Evaluated(cached_tokens=0, cache_write_tokens=0)]
    assert [(e.index, e.piece) for e in got if isinstance(e, Token)] == [(0, b"a"), (1, b""), (0, b"")]
    assert [e for e in got if isinstance(e, End)] == [End(1, "end_of_turn"), End(0, "end_of_turn")]


def test_limits_of_tokens_and_context() -> None:
    async def limited(engine: ScriptedEngine) -> list[list[TokenEvent]]:
        return [await events(engine.submit(prompt(max_tokens=2))), await events(engine.submit(prompt()))]

    by_request, by_context = run(lambda _: [[b"a"] * 20], limited, card=SMALL)
    assert sum(isinstance(e, Token) for e in by_request) == 2
    assert sum(isinstance(e, Token) for e in by_context) == SMALL.context_tokens - 3
    assert by_request[-1] == by_context[-1] == End(0, "length")


def test_refusals() -> None:
    async def refused(engine: ScriptedEngine) -> list[list[TokenEvent]]:
        long = await events(engine.submit(prompt("a" * 33)))
        held = [engine.submit(prompt()) for _ in range(3)]
        full = await events(engine.submit(prompt()))
        for generation in held:
            generation.cancel()
        return [long, full]

    long, full = run(lambda _: [[Pause(math.inf)]], refused, card=SMALL, queue_requests=1)
    assert long == [Failed(PromptTooLong(prompt_tokens=10, context_tokens=10))]
    assert full == [Failed(QueueFull())]


def test_stop_ends_one_choice_and_cancel_all() -> None:
    async def stopped(engine: ScriptedEngine) -> tuple[list[TokenEvent], int, bool]:
        generation = engine.submit(prompt(n=2))
        seen: list[TokenEvent] = []
        async for event in generation:
            seen.append(event)
            if len(seen) == 2:
                generation.stop(1)
            if isinstance(event, End):
                generation.cancel()
                generation.cancel()
        return seen, engine.n_cancelled, engine.stats.running == 0

    seen, n_cancelled, is_free = run(lambda _: [[Pause(math.inf)], [Pause(math.inf)]], stopped)
    assert seen[2:] == [End(1, "stopped")]
    assert (n_cancelled, is_free) == (1, True)


def test_a_crash_and_the_time_after_it() -> None:
    async def crashed(engine: ScriptedEngine) -> tuple[list[TokenEvent], bool, list[TokenEvent], bool]:
        other = engine.submit(prompt())
        await events(engine.submit(prompt("crash")))
        was_ready, lost = engine.is_ready, await events(engine.submit(prompt()))
        engine._ready_at_s = time.monotonic()
        return await events(other), was_ready, lost, engine.is_ready

    def script(asked: Prompt) -> list[list[Any]]:
        return [[Crash(restart_s=60)]] if PlainText("crash") in asked.segments else [[Pause(math.inf)]]

    others, was_ready, lost, is_ready = run(script, crashed)
    assert isinstance(others[-1], Failed)
    assert others[-1].fault == WorkerLost(retry_after_s=60, started=True)
    assert (was_ready, is_ready) == (False, True)
    (failed,) = lost
    assert isinstance(failed, Failed)
    assert isinstance(failed.fault, WorkerLost)
    assert not failed.fault.started
    assert 0 < failed.fault.retry_after_s <= 60


def test_faults_end_the_request() -> None:
    fault = WorkerFault(reason="x")
    got = run(lambda _: [[b"a", fault, b"b"], [b"c"] * 5], lambda engine: events(engine.submit(prompt(n=2))))
    assert got[-1] == Failed(fault)
    assert sum(isinstance(e, Token) for e in got) == 2


def test_pauses_hold_only_their_choice() -> None:
    got = run(lambda _: [[Pause(0.03), b"late"], [b"early"]], lambda engine: events(engine.submit(prompt(n=2))))
    assert [e.piece for e in got if isinstance(e, Token) and e.piece] == [b"early", b"late"]


def test_the_queue_moves_up() -> None:
    async def queued(engine: ScriptedEngine) -> int:
        return len(await asyncio.gather(*(events(engine.submit(prompt())) for _ in range(7))))

    assert run(lambda _: [[b"a"] * 3], queued, card=SMALL) == 7


def test_pieces_add_up_and_the_friendly_script_says_something() -> None:
    text = "  Hello, world \n"
    assert b"".join(pieces(text)) == text.encode()
    assert len(friendly(prompt(n=2))) == 2
