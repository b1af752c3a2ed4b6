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
    Segment,
    ThinkingBudget,
    TokenEngine,
)
from completionist.errors import APIError, ContextLengthExceeded, Overloaded
from completionist.grammar.check import ClientGrammar, GrammarChecks
from completionist.grammar.compile import ThinkingState
from completionist.grammar.forms import Offer
from completionist.grammar.frames import TOO_COMPLEX
from completionist.local.assemble import Assembly, Reading
from completionist.local.caching import with_breakpoint_marks
from completionist.local.card import card_as_served
from completionist.local.constraints import client_grammars, is_forced_by_name, offer_in, schema_of, without_tools
from completionist.local.effort import Plan, plan_of
from completionist.local.faults import raise_fault
from completionist.local.frames import Render
from completionist.local.heard import has_heard, has_media, unheard
from completionist.local.media import media_of, placed, with_medium_marks
from completionist.local.prepare import prompt_of, question_of
from completionist.local.renderer import Renderer
from completionist.settings import ServedSettings
from completionist.types.caller import Caller
from completionist.types.request import ChatRequest

_AS_IT_IS = ServedSettings()
_NOTHING: frozenset[str] = frozenset()


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
                tally.times = assembly.times

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
        generation = self._engine.submit(
            msgspec.structs.replace(job.prompt, caching=Caching(is_explicit=True), grammar=None, looser=None)
        )
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
        ending = _Ending(
            segments=placed(rendered.segments, len(media_of(request))) + segments_of(written, self._card),
            thinking=thinking,
            budget=self._budget(plan) if thinking == "open" else None,
        )
        return await self._steered(request, caller, ending)

    async def _steered(self, request: ChatRequest, caller: Caller, ending: _Ending) -> _Job:
        """What holds the answer to the request, and how it is read. Raises `InvalidRequest`, `Overloaded`.

        Wishes are granted where each can be and all of them together; else the answer is held to the rest, and so is one for
        which they turn out to be too much under way."""
        clients = await asyncio.to_thread(client_grammars, request)
        granted = await self._checks.check(clients, caller.project)
        held = partial(self._held, request, caller, ending, clients)
        wished = await held(granted, may_give_way=True) if granted else None
        plain = await held(_NOTHING, may_give_way=wished is not None)
        job = wished or plain
        if job is None:
            raise clients[0].refusal(TOO_COMPLEX)
        if wished is None or plain is None:
            return job
        prompt = msgspec.structs.replace(wished.prompt, looser=plain.prompt.grammar)
        return msgspec.structs.replace(wished, prompt=prompt)

    async def _held(
        self,
        request: ChatRequest,
        caller: Caller,
        ending: _Ending,
        clients: tuple[ClientGrammar, ...],
        granted: frozenset[str],
        *,
        may_give_way: bool,
    ) -> _Job | None:
        """The answer held to all demands and the wishes that are granted; None where that is too much together. A response
        format alone was tried as a part, and is no more as a whole."""
        in_force = tuple(client for client in clients if not client.is_wish or client.param in granted)
        job = await asyncio.to_thread(self._job, request, caller, ending, in_force, granted)
        grammar = job.prompt.grammar
        is_tried = not in_force or job.reading.offer is None
        if grammar is None or is_tried or await self._fits(grammar, caller.project, may_give_way=may_give_way):
            return job
        return None

    async def _fits(self, grammar: GrammarSpec, project: str, *, may_give_way: bool) -> bool:
        try:
            return await self._checks.fits(grammar, project)
        except Overloaded:
            if may_give_way:
                return False
            raise

    def _job(
        self,
        request: ChatRequest,
        caller: Caller,
        ending: _Ending,
        clients: tuple[ClientGrammar, ...],
        granted: frozenset[str],
    ) -> _Job:
        """Long where a client's schemas are, or its messages many."""
        reading = self._reading(request, ending.thinking, offer_in(request, granted), clients)
        grammar = self._dialect.grammar(
            self._card, offer=reading.offer, schema=schema_of(request), thinking=reading.thinking
        )
        prompt = prompt_of(
            request,
            caller,
            segments=ending.segments,
            grammar=grammar,
            thinking=ending.budget,
            max_output_tokens=self._said.max_output_tokens,
        )
        return _Job(prompt=prompt, reading=reading)

    def _budget(self, plan: Plan) -> ThinkingBudget | None:
        if plan.budget_tokens is None:
            return None
        return ThinkingBudget(plan.budget_tokens, segments_of(self._dialect.thinking_end(), self._card))

    def _question(self, request: ChatRequest, plan: Plan) -> Render:
        marked = with_medium_marks(request, self._renderer.medium_mark)
        shown = with_breakpoint_marks(marked, self._renderer.breakpoint_mark)
        return question_of(shown, self._dialect, plan.switches)

    def _reading(
        self,
        request: ChatRequest,
        thinking: ThinkingState,
        offer: Offer | None,
        clients: tuple[ClientGrammar, ...],
    ) -> Reading:
        return Reading(
            dialect=self._dialect,
            controls=self._controls,
            thinking=thinking,
            offer=offer,
            clients=clients,
            is_forced_by_name=is_forced_by_name(request),
            is_legacy=bool(request.functions),
            stop_strings=request.stop or (),
            shows_reasoning=self._said.reasoning_content,
            is_spoken=is_spoken(request),
            has_split=is_spoken(request) or has_media(request),
        )


class _Ending(msgspec.Struct, frozen=True, kw_only=True):
    """A rendered prompt, and how its answer begins."""

    segments: tuple[Segment, ...]
    thinking: ThinkingState
    budget: ThinkingBudget | None


class _Job(msgspec.Struct, frozen=True, kw_only=True):
    """A request, ready for the engine, and how its answer is to be read."""

    prompt: Prompt
    reading: Reading
