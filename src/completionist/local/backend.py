"""A `ChatBackend` over a `TokenEngine`: render the conversation, run the prompt, assemble what comes."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from completionist.chat.deltas import Delta
from completionist.engine.base import ModelCard, TokenEngine
from completionist.local.assemble import Assembly
from completionist.local.caching import with_breakpoint_marks
from completionist.local.prepare import n_choices, prompt_of, turns_of
from completionist.local.renderer import Renderer
from completionist.local.verbosity import with_verbosity
from completionist.types.caller import Caller
from completionist.types.request import ChatRequest


class LocalBackend:
    """Answers chat requests with a token engine that has started. `start` before use; the engine stays its owner's."""

    def __init__(self, engine: TokenEngine) -> None:
        self._engine = engine
        self._renderer = Renderer(engine.card)

    @property
    def card(self) -> ModelCard:
        return self._engine.card

    async def start(self) -> None:
        """Raises `ChatTemplateUnusable`, an `OperatorError`, where the model's chat template does not work."""
        await self._renderer.start()

    async def close(self) -> None:
        await self._renderer.close()

    async def deltas(self, request: ChatRequest, caller: Caller) -> AsyncGenerator[Delta]:
        """Answer `request`. Raises the `APIError` of what goes wrong, before the first delta or between two."""
        shown = with_breakpoint_marks(with_verbosity(request), self._renderer.breakpoint_mark)
        segments = await self._renderer.segments(turns_of(shown.messages))
        generation = self._engine.submit(prompt_of(request, caller, segments))
        try:
            assembly = Assembly(n_choices(request), request.stop or (), generation)
            async for event in generation:
                for delta in assembly.feed((event, *generation.take())):
                    yield delta
        finally:
            generation.cancel()
