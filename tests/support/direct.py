"""A `ChatBackend` straight over a token engine: no template, no stop strings; the prompt is the texts of the messages."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from completionist.chat.deltas import Closed, Delta, Opened, Tally, Text, Totals
from completionist.engine.base import (
    Accepted,
    ControlToken,
    End,
    Failed,
    Fault,
    ModelCard,
    PlainText,
    Prompt,
    PromptTooLong,
    QueueFull,
    Sampling,
    Segment,
    Token,
    TokenEngine,
    WorkerLost,
)
from completionist.errors import APIError, ContextLengthExceeded, EngineLost, Overloaded, ServerError
from completionist.types.caller import Caller
from completionist.types.completion import CompletionTokensDetails, PromptTokensDetails, Usage
from completionist.types.request import ChatRequest


class DirectBackend:
    def __init__(self, engine: TokenEngine) -> None:
        self._engine = engine

    @property
    def card(self) -> ModelCard:
        return self._engine.card

    @property
    def can_think(self) -> bool:
        return False

    async def deltas(self, request: ChatRequest, caller: Caller, _: Tally | None = None) -> AsyncGenerator[Delta]:
        n = request.n or 1
        generation = self._engine.submit(_prompt(request, caller, n))
        n_prompt_tokens = n_tokens = 0
        try:
            async for event in generation:
                match event:
                    case Accepted():
                        n_prompt_tokens = event.prompt_tokens
                        for index in range(n):
                            yield Opened(index)
                    case Token():
                        n_tokens += 1
                        if event.piece:
                            yield Text(event.index, event.piece.decode())
                    case End():
                        yield Closed(event.index, "length" if event.reason == "length" else "stop")
                    case Failed():
                        raise _error(event.fault)
            yield Totals(_usage(n_prompt_tokens, n_tokens))
        finally:
            generation.cancel()

    async def close(self) -> None:
        """Nothing here is its own."""


def _prompt(request: ChatRequest, caller: Caller, n: int) -> Prompt:
    segments: list[Segment] = []
    for message in request.messages:
        segments += [ControlToken(1), PlainText(str(message.content))]
    limit = request.max_completion_tokens or request.max_tokens
    sampling = Sampling(seed=request.seed or 0)
    return Prompt(project=caller.project, segments=tuple(segments), n=n, max_tokens=limit, sampling=sampling)


def _error(fault: Fault) -> APIError:
    match fault:
        case PromptTooLong():
            return ContextLengthExceeded(prompt_tokens=fault.prompt_tokens, context_tokens=fault.context_tokens)
        case QueueFull():
            return Overloaded()
        case WorkerLost():
            return EngineLost() if fault.started else Overloaded(retry_after_s=fault.retry_after_s)
        case _:
            return ServerError()


def _usage(prompt_tokens: int, completion_tokens: int) -> Usage:
    return Usage(
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        total_tokens=prompt_tokens + completion_tokens,
        prompt_tokens_details=PromptTokensDetails(),
        completion_tokens_details=CompletionTokensDetails(),
    )
