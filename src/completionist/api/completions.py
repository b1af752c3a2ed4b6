"""POST /v1/chat/completions: bytes in, JSON or an event stream out."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import msgspec

from completionist.api.exchange import Exchange
from completionist.api.idempotency import claimed, read_attempt
from completionist.api.limits import read_json_body
from completionist.api.services import Services
from completionist.chat.aside import aside
from completionist.chat.service import Answer, Asked
from completionist.errors import EndUserBlocked, InvalidRequest
from completionist.metrics import Metrics
from completionist.store.base import Attempt
from completionist.types.completion import ChatCompletion
from completionist.types.request import ChatRequest

_CHUNKS_AT_ONCE = 32
"""What many choices say in one step is written in several goes, so that others get their turn between (a chunk: 40 µs)."""


async def create(exchange: Exchange, services: Services) -> None:
    """Answer one chat request (contract, sections 2, 5 and 6)."""
    meter = exchange.meter = services.limiter.meter(exchange.caller)
    try:
        request, attempt = await _read_request(exchange, services)
        asked = await aside(request, partial(services.chat.judge, request, exchange.caller, exchange.request_id))
    except InvalidRequest as error:
        if error.status == 400:
            meter.charge_request()
        raise
    with meter.admitted(request.model, exchange.end_user, asked.estimated_tokens):
        async with claimed(exchange, services, attempt) as claim:
            if claim.replay is not None:
                meter.settle(0)
                await _replay(claim.replay, exchange, is_streamed=bool(request.stream))
                return
            await _answer(asked, claim.attempt, exchange, services)


def _account(answer: Answer, exchange: Exchange, services: Services) -> None:
    """Settle what was reserved, and write down what was run, if anything was."""
    usage = exchange.usage = answer.usage
    if encode_s := answer.times.encode_s:
        services.metrics.media_encode.observe(encode_s)
    if exchange.meter is not None:
        exchange.meter.settle(usage.total_tokens if usage else 0)
    if usage is not None:
        services.ledger.add(
            exchange.caller,
            model=answer.request.model,
            served_model=answer.served_model,
            end_user=exchange.end_user,
            usage=usage,
        )


async def _answer(asked: Asked, attempt: Attempt | None, exchange: Exchange, services: Services) -> None:
    completion = await services.drain.attend(_completed(asked, attempt, exchange, services), exchange.receive)
    exchange.completion = completion
    _count(completion, exchange.elapsed_s, services.metrics)
    if exchange.events:
        await exchange.events.finish()
    else:
        await exchange.respond_json(await _encoded(completion))


async def _encoded(completion: ChatCompletion) -> bytes:
    """Sound makes an answer long."""
    if any(choice.message.audio for choice in completion.choices):
        return await asyncio.to_thread(msgspec.json.encode, completion)
    return msgspec.json.encode(completion)


async def _completed(asked: Asked, attempt: Attempt | None, exchange: Exchange, services: Services) -> ChatCompletion:
    async with AsyncExitStack() as stack:
        entering = stack.enter_async_context(services.chat.answering(asked, attempt))
        is_streamed = bool(asked.request.stream)
        answer = await (_patiently(entering, exchange, services.settings.keep_alive_s) if is_streamed else entering)
        exchange.answer = answer
        try:
            await (_stream(answer, exchange, services) if is_streamed else answer.whole())
        except asyncio.CancelledError:  # the client left: what was run for it counts all the same
            _account(answer, exchange, services)
            raise
        _account(answer, exchange, services)
        return answer.completed()


async def _patiently(coming: Coroutine[Any, Any, Answer], exchange: Exchange, interval_s: float) -> Answer:
    """What is `coming`. It may take as long as loading a model: where it takes long, the client hears that it is coming."""
    task = asyncio.create_task(coming)
    try:
        while not (await asyncio.wait({task}, timeout=interval_s))[0]:
            events = exchange.events or await exchange.open_events()
            await events.comment()
        return task.result()
    finally:
        task.cancel()
        await asyncio.wait({task})


async def _replay(sent: bytes, exchange: Exchange, *, is_streamed: bool) -> None:
    """The answer that was given before, in the form in which the same request asked for it."""
    if not is_streamed:
        await exchange.respond_json(sent)
        return
    events = await exchange.open_events()
    for chunk in sent.split(b"\n"):
        await events.event(chunk)
    await events.finish()


async def _read_request(exchange: Exchange, services: Services) -> tuple[ChatRequest, Attempt | None]:
    """The body itself is let go."""
    parts = await read_json_body(
        exchange.headers,
        exchange.receive,
        max_bytes=services.settings.max_body_bytes,
        deadline_s=exchange.receipt_deadline_s,
    )
    await services.chat.backends.refresh()
    draft = await services.decoder.read(*parts)
    exchange.model = draft.model
    # 404 goes before what is wrong with the other fields (section 2.3)
    exchange.served_model = services.chat.backends.find(draft.model).model
    request = exchange.request = draft.request()
    exchange.end_user = request.safety_identifier or request.user
    if exchange.end_user is not None and services.keyring.is_blocked(exchange.caller.project, exchange.end_user):
        raise EndUserBlocked
    return request, await read_attempt(exchange, parts)


async def _stream(answer: Answer, exchange: Exchange, services: Services) -> None:
    """The status line waits until the request is accepted: what fails before is an ordinary error answer."""
    async with answer.streamed() as chunks:
        events = exchange.events or await exchange.open_events()
        is_waiting = True
        async with events.kept_alive(services.settings.keep_alive_s):
            async for chunk in chunks:
                await events.event(chunk)
                if exchange.time_to_first_chunk_s is None:
                    exchange.time_to_first_chunk_s = exchange.elapsed_s
                if events.n_events % _CHUNKS_AT_ONCE == 0:
                    await asyncio.sleep(0)
                if is_waiting and answer.has_begun:
                    is_waiting = False
                    services.metrics.time_to_first_token.observe(exchange.elapsed_s)


def _count(completion: ChatCompletion, elapsed_s: float, metrics: Metrics) -> None:
    usage = completion.usage
    metrics.prompt_tokens.inc(usage.prompt_tokens)
    metrics.cached_tokens.inc(usage.prompt_tokens_details.cached_tokens)
    metrics.generation_tokens.inc(usage.completion_tokens)
    metrics.request_latency.observe(elapsed_s)
    for choice in completion.choices:
        metrics.success.labels(choice.finish_reason).inc()
