"""A `ChatBackend` over a `TokenEngine`: render the conversation, run the prompt, assemble what comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from functools import partial

import msgspec

from completionist.chat.deltas import Delta, Tally
from completionist.chat.speech import is_spoken
from completionist.dialects.base import segments_of
from completionist.dialects.choose import choose
from completionist.engine.base import (
    Accepted,
    Caching,
    Failed,
    GrammarSpec,
    ModelCard,
    Prompt,
    PromptTooLong,
    ThinkingBudget,
    TokenEngine,
)
from completionist.errors import APIError, ContextLengthExceeded
from completionist.grammar.check import ClientGrammar, GrammarChecks
from completionist.grammar.compile import ThinkingState
from completionist.local.assemble import Assembly, Reading, raise_fault
from completionist.local.caching import with_breakpoint_marks
from completionist.local.card import card_as_served
from completionist.local.constraints import client_grammars, is_forced_by_name, offer_in, schema_of, without_tools
from completionist.local.effort import Plan, plan_of
from completionist.local.frames import Render
from completionist.local.heard import has_heard, has_media, unheard
from completionist.local.prepare import prompt_of, question_of
from completionist.local.renderer import Renderer
from completionist.settings import ServedSettings
from completionist.types.caller import Caller
from completionist.types.request import ChatRequest

_AS_IT_IS = ServedSettings()


class LocalBackend:
    """Answers chat requests with a token engine that has started. `start` before use; the engine stays its owner's."""

    def __init__(self, engine: TokenEngine, said: ServedSettings = _AS_IT_IS) -> None:
        """Raises `DialectUnfit` or `TemplateUnreadable`, both `OperatorError`s."""
        self._engine = engine
        self._said = said
        self._card = card_as_served(engine.card, said)
        self._dialect = choose(self._card, said.dialect)
        self._renderer = Renderer(self._card)
        self._checks = GrammarChecks()
        self._controls = {token.id: token.text for token in self._card.specials if token.kind == "control"}

    @property
    def card(self) -> ModelCard:
        return self._card

    @property
    def can_think(self) -> bool:
        return self._dialect.layout.thinking is not None

    async def start(self) -> None:
        """Raises `ChatTemplateUnusable`, an `OperatorError`, where the model's chat template does not work."""
        await self._renderer.start()
        await asyncio.to_thread(self._dialect.warm_up)

    async def close(self) -> None:
        await self._renderer.close()
        await self._checks.close()

    async def deltas(self, request: ChatRequest, caller: Caller, tally: Tally | None = None) -> AsyncGenerator[Delta]:
        """Answer `request`. Raises the `APIError` of what goes wrong, before the first delta or between two."""
        job = await self._prepared(request, caller)
        unheard_tokens = await self._prompt_tokens(unheard(request), caller) if has_heard(request) else None
        generation = self._engine.submit(job.prompt)
        assembly = Assembly(job.prompt.n, job.reading, generation, unheard_tokens=unheard_tokens)
        try:
            async for event in generation:
                for delta in assembly.feed((event, *generation.take())):
                    yield delta
        except ContextLengthExceeded as error:
            raise await self._with_shares(error, request, caller) from None
        finally:
            generation.cancel()
            if tally is not None:
                tally.usage = assembly.usage()

    async def _with_shares(
        self, error: ContextLengthExceeded, request: ChatRequest, caller: Caller
    ) -> ContextLengthExceeded:
        """With tools the refusal tells what they take: counted as the difference to the prompt without them."""
        if not (request.tools or request.functions):
            return error
        try:
            n_messages = await self._prompt_tokens(without_tools(request), caller)
        except APIError:  # no room to ask
            return error
        return ContextLengthExceeded(
            prompt_tokens=error.prompt_tokens,
            context_tokens=error.context_tokens,
            function_tokens=error.prompt_tokens - n_messages,
        )

    async def _prompt_tokens(self, request: ChatRequest, caller: Caller) -> int:
        """How long its prompt is; nothing of it is kept. Raises `APIError`."""
        job = await self._prepared(request, caller)
        generation = self._engine.submit(msgspec.structs.replace(job.prompt, caching=Caching(is_explicit=True)))
        try:
            match await anext(aiter(generation)):
                case Accepted(n_tokens) | Failed(PromptTooLong(n_tokens)):
                    return n_tokens
                case Failed(fault):
                    raise_fault(fault)
                case _:
                    raise RuntimeError("an engine's first event is neither Accepted nor Failed")
        finally:
            generation.cancel()

    async def _prepared(self, request: ChatRequest, caller: Caller) -> _Job:
        """All of the request is judged here; nothing runs before."""
        plan = plan_of(request.reasoning_effort, self._card.chat_template or "")
        rendered = await self._renderer.rendered(partial(self._question, request, plan))
        thinking, written = self._dialect.thinking_after(rendered.ending), ""
        if plan.wanted:
            written, thinking = self._dialect.written_thinking(thinking, wanted=plan.wanted)
        reading, clients, grammar = await asyncio.to_thread(self._demands, request, thinking)
        await self._checks.check(clients, grammar, caller.project)
        prompt = prompt_of(
            request,
            caller,
            segments=rendered.segments + segments_of(written, self._card),
            grammar=grammar,
            thinking=self._budget(plan) if thinking == "open" else None,
            max_output_tokens=self._said.max_output_tokens,
        )
        return _Job(prompt=prompt, reading=reading)

    def _demands(
        self, request: ChatRequest, thinking: ThinkingState
    ) -> tuple[Reading, tuple[ClientGrammar, ...], GrammarSpec | None]:
        """Long where a client's schemas are. Raises `InvalidRequest`."""
        clients = client_grammars(request)
        reading = self._reading(request, thinking)
        grammar = self._dialect.grammar(
            self._card, offer=reading.offer, schema=schema_of(request), thinking=reading.thinking
        )
        return reading, clients, grammar

    def _budget(self, plan: Plan) -> ThinkingBudget | None:
        if plan.budget_tokens is None:
            return None
        return ThinkingBudget(plan.budget_tokens, segments_of(self._dialect.thinking_end(), self._card))

    def _question(self, request: ChatRequest, plan: Plan) -> Render:
        shown = with_breakpoint_marks(request, self._renderer.breakpoint_mark)
        return question_of(shown, self._dialect, plan.switches)

    def _reading(self, request: ChatRequest, thinking: ThinkingState) -> Reading:
        return Reading(
            dialect=self._dialect,
            controls=self._controls,
            thinking=thinking,
            offer=offer_in(request),
            is_forced_by_name=is_forced_by_name(request),
            is_legacy=bool(request.functions),
            stop_strings=request.stop or (),
            shows_reasoning=self._said.reasoning_content,
            is_spoken=is_spoken(request),
            has_split=is_spoken(request) or has_media(request),
        )


class _Job(msgspec.Struct, frozen=True, kw_only=True):
    """A request, ready for the engine, and how its answer is to be read."""

    prompt: Prompt
    reading: Reading
