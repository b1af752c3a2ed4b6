"""Continuous batching: admits choices to streams, runs the planned calls of a step, draws tokens, collects the events.

It knows nothing of sockets: commands are method calls, and what a step brought is taken with `take_events`.
"""

from __future__ import annotations

import time

from completionist.engine.base import (
    Accepted,
    End,
    EndReason,
    Evaluated,
    Failed,
    Fault,
    Prompt,
    PromptTooLong,
    QueueFull,
    Token,
    TokenEvent,
    WorkerFault,
)
from completionist.engine.frames import Stats
from completionist.engine.llama.keeping import Keeping
from completionist.engine.llama.likelihood import likely
from completionist.engine.llama.memory import Memory
from completionist.engine.llama.model import Model
from completionist.engine.llama.planner import Call, Costs, plan
from completionist.engine.llama.runner import MAX_CALL_TOKENS, DecodeFailed
from completionist.engine.llama.sampler import Row, Sampler
from completionist.engine.llama.sequence import Request, Sequence
from completionist.engine.llama.waiting import WaitingRoom

_QUIET_STEPS = 3
"""A hole between streams in use is closed when nobody has come to fill it for so many steps."""


class Engine:
    """All requests of one model. Single-threaded."""

    def __init__(self, model: Model, memory: Memory, *, costs: Costs, max_waiting: int) -> None:
        self._model = model
        self._memory = memory
        self._costs = costs
        self._sampler = Sampler(model.vocabulary_size)
        self._requests: dict[int, Request] = {}
        self._waiting = WaitingRoom(max_waiting)
        self._events: list[tuple[int, TokenEvent]] = []
        self._n_quiet_steps = 0
        self._n_steps = self._n_prompt_tokens = self._n_cached_tokens = self._n_generated_tokens = 0

    @property
    def has_work(self) -> bool:
        return bool(self._requests)

    def submit(self, request_id: int, prompt: Prompt) -> None:
        """Queue a request, or fail it."""
        tokens, breakpoints = self._model.tokenise_with_breakpoints(prompt.segments)
        if len(tokens) >= self._memory.capacity_tokens:
            self._refuse(request_id, PromptTooLong(len(tokens), self._memory.capacity_tokens))
            return
        if not self._waiting.has_room(prompt.project, self._memory.n_free, prompt.tier):
            self._refuse(request_id, QueueFull(prompt.tier))
            return
        request = Request(
            id=request_id,
            project=prompt.project,
            tier=prompt.tier,
            arrived_s=time.monotonic(),
            tokens=tokens,
            sampling=prompt.sampling,
            max_tokens=prompt.max_tokens,
            choices_waiting=list(range(prompt.n)),
            keeping=Keeping(prompt.caching, tuple(breakpoints)),
        )
        self._requests[request_id] = request
        self._waiting.add(request)
        self._events.append((request_id, Accepted(len(tokens))))

    def _refuse(self, request_id: int, fault: Fault) -> None:
        self._events.append((request_id, Failed(fault)))

    def stop(self, request_id: int, index: int) -> None:
        """End a running choice; one that is over already stays as it ended."""
        request = self._requests.get(request_id)
        for sequence in request.running if request else ():
            if sequence.index == index:
                self._end(sequence, "stopped")
                return

    def cancel(self, request_id: int) -> None:
        """Free whatever the request holds; nothing more is said about it."""
        request = self._requests.get(request_id)
        if request:
            self._drop(request)

    def step(self) -> None:
        """One decode step: every generating choice gets a token, prompts under way a chunk."""
        self._n_quiet_steps = 0 if self._waiting else self._n_quiet_steps + 1
        self._memory.arrange(is_quiet=self._n_quiet_steps > _QUIET_STEPS)
        self._admit()
        holders = [pool.holders() for pool in self._memory.pools]
        for call in plan(holders, self._costs, MAX_CALL_TOKENS):
            self._run(call)
        self._n_steps += 1
        if not self._requests:
            self._memory.check()

    def tidy(self) -> None:
        """For want of anything else to do: let go of what is too old to be kept."""
        self._memory.expire()

    def take_events(self) -> tuple[tuple[int, TokenEvent], ...]:
        """What happened since the last call, in order."""
        events = tuple(self._events)
        self._events.clear()
        return events

    def stats(self) -> Stats:
        return Stats(
            running=len(self._memory.running()),
            waiting=self._waiting.n_choices(),
            streams_free=self._memory.n_free,
            steps_total=self._n_steps,
            prompt_tokens_total=self._n_prompt_tokens,
            generated_tokens_total=self._n_generated_tokens,
            cached_tokens_total=self._n_cached_tokens,
            cache_bytes=self._memory.prefixes.n_bytes,
        )

    def _admit(self) -> None:
        """Give free streams to waiting choices, best first, as long as one of them can start."""
        while self._waiting and self._memory.n_free:
            waiting = self._waiting.in_order(time.monotonic(), self._memory.by_project())
            request = next((one for one in waiting if self._memory.outlook(one) == "placeable"), None)
            if request is None:
                return
            self._start_choice(request)

    def _start_choice(self, request: Request) -> None:
        sequence = request.start()
        if not request.choices_waiting:
            self._waiting.discard(request)
        try:
            self._memory.place(sequence)
        except DecodeFailed as error:
            self._fail(request, WorkerFault(str(error)))
            return
        self._n_cached_tokens += sequence.n_cached
        if request.prompt_logits is not None:
            self._advance(sequence, request.prompt_logits)

    def _run(self, call: Call) -> None:
        call = [span for span in call if span.sequence.stream >= 0]  # a failed call may have ended siblings
        ready = [span.sequence for span in call if span.reaches_end]
        self._n_prompt_tokens += sum(span.n_tokens for span in call if span.sequence.is_prefilling)
        pool = call[0].sequence.pool if call else None
        if pool is None:
            return
        try:
            rows = pool.context.run(call)
        except DecodeFailed as error:
            for span in call:
                self._fail(span.sequence.request, WorkerFault(str(error)))
            return
        for sequence, row in zip(ready, rows, strict=True):
            if sequence.n_generated == 0:
                self._prompt_done(sequence, row)
            self._advance(sequence, row)

    def _prompt_done(self, sequence: Sequence, row: Row) -> None:
        """The prompt of a request is in memory: keep a copy if more choices are to start from it."""
        request = sequence.request
        n_kept = max(0, self._memory.n_kept(request, len(request.tokens)) - sequence.n_cached)
        self._events.append((request.id, Evaluated(cached_tokens=sequence.n_cached, cache_write_tokens=n_kept)))
        if request.choices_waiting and sequence.pool is not None:
            request.prompt_state = sequence.pool.context.save(sequence.stream)
            request.prompt_logits = row.copy()

    def _advance(self, sequence: Sequence, row: Row) -> None:
        """Draw the next token of a sequence, and end it where that was the last one."""
        sampling = sequence.request.sampling
        with sequence.adjustment.applied_to(row):
            token = self._sampler.draw(row, sampling, sequence.random)
        sequence.tokens.append(token)
        sequence.adjustment.count(token)
        self._n_generated_tokens += 1
        event = Token(sequence.index, token, self._model.piece(token))
        if sampling.n_alternatives is not None:
            event = likely(event, row, sampling.n_alternatives, self._model)
        self._events.append((sequence.request.id, event))
        if self._model.ends_turn(token):
            self._end(sequence, "end_of_turn")
        elif sequence.is_at_token_limit or len(sequence.tokens) >= self._memory.capacity_tokens:
            self._end(sequence, "length")

    def _end(self, sequence: Sequence, reason: EndReason) -> None:
        request = sequence.request
        self._events.append((request.id, End(sequence.index, reason)))
        self._free(sequence)
        if request.is_over:
            del self._requests[request.id]

    def _fail(self, request: Request, fault: Fault) -> None:
        if request.id in self._requests:
            self._drop(request, keep=False)
            self._refuse(request.id, fault)

    def _drop(self, request: Request, *, keep: bool = True) -> None:
        del self._requests[request.id]
        self._waiting.discard(request)
        request.choices_waiting.clear()
        for sequence in list(request.running):
            self._free(sequence, keep=keep)

    def _free(self, sequence: Sequence, *, keep: bool = True) -> None:
        """`keep`: what the stream holds is right, and may serve other prompts."""
        sequence.request.running.remove(sequence)
        self._memory.free(sequence, keep=keep)
