"""Continuous batching: admits choices to streams, runs the planned calls of a step, draws tokens, collects the events.

It knows nothing of sockets: commands are method calls, and what a step brought is taken with `take_events`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from completionist.engine.base import (
    Accepted,
    End,
    EndReason,
    Evaluated,
    Failed,
    Fault,
    GrammarRefused,
    Prompt,
    PromptTooLong,
    QueueFull,
    TokenEvent,
    WorkerFault,
)
from completionist.engine.frames import Stats
from completionist.engine.llama.answer import Writer
from completionist.engine.llama.calls import Call
from completionist.engine.llama.costs import Costs
from completionist.engine.llama.encoding import Encoder, abandon
from completionist.engine.llama.matcher import DeadEnd, GrammarFailed, TooMuchWork
from completionist.engine.llama.memory import Memory
from completionist.engine.llama.model import Model
from completionist.engine.llama.pace import Pace
from completionist.engine.llama.planner import Pauses, plan
from completionist.engine.llama.preparing import Newcomer, Preparer
from completionist.engine.llama.projector import Projector
from completionist.engine.llama.runner import MAX_CALL_TOKENS, DecodeFailed
from completionist.engine.llama.sampler import Row
from completionist.engine.llama.sequence import Account, Request, Sequence
from completionist.engine.llama.streams import Streams
from completionist.engine.llama.waiting import WaitingRoom

_QUIET_STEPS = 3
"""A hole between streams in use is closed when nobody has come to fill it for so many steps."""


class Engine:
    """All requests of one model. Single-threaded."""

    def __init__(
        self, model: Model, memory: Memory, *, costs: Costs, max_waiting: int, projector: Projector | None = None
    ) -> None:
        self._model = model
        self._memory = memory
        self._writer = Writer(model, capacity_tokens=memory.capacity_tokens, can_take_back=memory.can_take_back)
        self._preparer = Preparer(model, projector, capacity_tokens=memory.capacity_tokens)
        self._encoder = Encoder(projector)
        self._newcomers: dict[int, Newcomer] = {}
        self._requests: dict[int, Request] = {}
        self._waiting = WaitingRoom(max_waiting)
        self._events: list[tuple[int, TokenEvent]] = []
        self._n_quiet_steps = 0
        self._pauses = Pauses()
        self._pace = Pace(costs)
        self._is_stalled = False  # nothing was evaluated in the last step, and nobody has come, begun or gone since
        self._n_steps = self._n_prompt_tokens = self._n_cached_tokens = self._n_generated_tokens = 0

    @property
    def must_wait(self) -> bool:
        """All there is to do is being done on other threads, which call what `rouse_by` was given when they are done."""
        running = self._memory.running() if self._is_stalled else []
        awaits_rows = bool(running) and all(one.awaits_rows for one in running)
        return (awaits_rows or not self._requests) and not any(
            newcomer.has_news for newcomer in self._newcomers.values()
        )

    def rouse_by(self, wake: Callable[[], None]) -> None:
        """`wake` ends a wait of the thread that steps; other threads call it."""
        self._preparer.wake = self._encoder.wake = wake

    def submit(self, request_id: int, prompt: Prompt) -> None:
        """Take a request on, or fail it."""
        coming = [newcomer.prompt.project for newcomer in self._newcomers.values()]
        if not self._waiting.has_room(prompt.project, self._memory.n_free_for_any, prompt.tier, coming):
            self._refuse(request_id, QueueFull(prompt.tier))
            return
        self._newcomers[request_id] = self._preparer.prepare(request_id, prompt, time.monotonic())
        self._welcome()

    def _welcome(self) -> None:
        """Newcomers are accepted when all that they need is there: what is wrong with them has shown by then."""
        for newcomer in list(self._newcomers.values()):
            if newcomer.texts.done():
                self._follow(newcomer)

    def _follow(self, newcomer: Newcomer) -> None:
        """Its tokens are known, or what was wrong with them: a grammar is compiled for those that fit alone."""
        fault = newcomer.fault() or self._length_fault(newcomer)
        if fault is None and not newcomer.is_fitting:
            self._preparer.go_on(newcomer)
        is_ready = newcomer.is_ready
        fault = fault or newcomer.fault()  # last: whatever is ready shows what is wrong with it
        if fault is not None:
            del self._newcomers[newcomer.id]
            self._refuse(newcomer.id, fault)
        elif is_ready:
            self._accept(newcomer)

    def _length_fault(self, newcomer: Newcomer) -> Fault | None:
        n_tokens = len(newcomer.texts.result().prompt.tokens)
        has_room = n_tokens < self._memory.capacity_tokens
        return None if has_room else PromptTooLong(n_tokens, self._memory.capacity_tokens)

    def _accept(self, newcomer: Newcomer) -> None:
        del self._newcomers[newcomer.id]
        self._is_stalled = False
        self._requests[newcomer.id] = request = newcomer.request(self._memory.capacity_tokens)
        laid = newcomer.texts.result().prompt
        self._events.append((request.id, Accepted(len(request.tokens), laid.n_picture_tokens, laid.n_sound_tokens)))
        self._waiting.add(request)

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
        newcomer, request = self._newcomers.pop(request_id, None), self._requests.get(request_id)
        if newcomer:
            newcomer.abandon()
        if request:
            self._drop(request)

    def step(self, report: Callable[[], None] | None = None) -> None:
        """One decode step: every generating choice gets a token, prompts under way a chunk. `report` is called before a call to
        the library if there are events by then: nobody waits for what others have evaluated."""
        self._is_stalled = True
        self._welcome()
        self._n_quiet_steps = 0 if self._waiting else self._n_quiet_steps + 1
        self._memory.arrange(is_quiet=self._n_quiet_steps > _QUIET_STEPS)
        self._admit()
        self._perceive()
        holders = [[one for one in pool.holders() if not one.awaits_rows] for pool in self._memory.pools]
        self._propose(holders)
        calls = plan(holders, self._pace.costs, MAX_CALL_TOKENS, self._pauses)
        for call in calls:
            if report and self._events:
                report()
            self._run(call)
        self._pace.end_step()
        self._is_stalled &= not calls
        self._n_steps += 1
        if not self._requests:
            self._memory.check()

    def tidy(self) -> None:
        """For want of anything else to do: let go of what is too old to be kept."""
        self._memory.expire()

    def _perceive(self) -> None:
        """Have insets encoded that no cache had; a request of which one cannot be is over."""
        for sequence in self._memory.running():
            for inset in sequence.request.insets if sequence.is_prefilling else ():
                if inset.end > sequence.n_cells:
                    self._encoder.ask_for(inset)
                if inset.rows is not None and inset.rows.done() and (error := inset.rows.exception()):
                    self._fail(sequence.request, WorkerFault(f"a picture or sound cannot be encoded: {error}"))
                    break

    def _propose(self, holders: list[list[Sequence]]) -> None:
        for pool in holders:
            for sequence in pool:
                if not sequence.is_prefilling:
                    sequence.guess = self._writer.guess(sequence)

    def take_events(self) -> tuple[tuple[int, TokenEvent], ...]:
        """What happened since the last call, in order."""
        events = tuple(self._events)
        self._events.clear()
        return events

    def stats(self) -> Stats:
        return Stats(
            running=len(self._memory.running()),
            waiting=self._waiting.n_choices() + sum(one.prompt.n for one in self._newcomers.values()),
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
            now_s, running = time.monotonic(), self._memory.by_account()
            for request in self._waiting.in_order(now_s, running):
                pool = self._pool_for(request, running, now_s)
                if pool is not None and not self._memory.awaits_prompt(request, len(self._waiting)):
                    break
            else:
                return
            self._waiting.starts(request, now_s)
            request.started_s = request.started_s or now_s
            self._start_choice(request, pool)

    def _pool_for(self, request: Request, running: Counter[Account], now_s: float) -> Streams | None:
        """Where a choice of it may start now."""
        for pool in self._memory.free_pools(request):
            if self._memory.is_short(pool):
                may_start = self._waiting.may_have_short(request, running, now_s)
            else:
                may_start = self._waiting.leaves_room(request, pool.n_free, running, now_s)
            if may_start:
                return pool
        return None

    def _start_choice(self, request: Request, pool: Streams) -> None:
        self._is_stalled = False
        sequence = request.start()
        if not request.choices_waiting:
            self._waiting.discard(request)
        try:
            self._memory.place(sequence, pool)
        except DecodeFailed as error:
            self._fail(request, WorkerFault(str(error)))
            return
        self._n_cached_tokens += sequence.n_cached
        if request.prompt_logits is not None:
            self._advance(sequence, request.prompt_logits[np.newaxis], n_guessed=0)

    def _run(self, call: Call) -> None:
        call = [span for span in call if span.sequence.stream >= 0]  # a failed call may have ended siblings
        ready = [(span.sequence, span.n_guessed, span.n_rows) for span in call if span.n_rows]
        self._n_prompt_tokens += sum(span.n_tokens for span in call if span.sequence.is_prefilling)
        pool = call[0].sequence.pool if call else None
        if pool is None:
            return
        try:
            with self._pace.watch(call):
                rows = pool.context.run(call)
        except DecodeFailed as error:
            for span in call:
                self._fail(span.sequence.request, WorkerFault(str(error)))
            return
        end = 0
        for sequence, n_guessed, n_rows in ready:
            start, end = end, end + n_rows
            if sequence.n_generated == 0:
                self._prompt_done(sequence, rows[start])
            if sequence.pool is not None:  # its request may have failed with a sibling
                self._advance(sequence, rows[start:end], n_guessed)

    def _prompt_done(self, sequence: Sequence, row: Row) -> None:
        """The prompt of a request is in memory: keep a copy if more choices are to start from it."""
        request = sequence.request
        n_kept = max(0, self._memory.n_kept(request, len(request.tokens)) - sequence.n_cached)
        prefill_s = time.monotonic() - request.started_s
        encode_s = sum(inset.encode_s for inset in request.insets)
        self._events.append((request.id, Evaluated(sequence.n_cached, n_kept, prefill_s, encode_s)))
        if request.choices_waiting and sequence.pool is not None:
            request.prompt_state = sequence.pool.context.save(sequence.stream)
            request.prompt_logits = row.copy()

    def _advance(self, sequence: Sequence, rows: NDArray[np.float32], n_guessed: int) -> None:
        """Continue a sequence from the rows behind it, and end it where that is its end."""
        request = sequence.request
        try:
            advance = self._writer.advance(sequence, rows, n_guessed)
        except (DeadEnd, TooMuchWork) as error:
            self._fail(request, GrammarRefused(str(error), is_dead_end=isinstance(error, DeadEnd)))
            return
        except GrammarFailed as error:
            self._fail(request, WorkerFault(str(error)))
            return
        self._n_generated_tokens += len(advance.tokens)
        self._events += ((request.id, token) for token in advance.tokens)
        self._memory.take_back(sequence, n_guessed - advance.n_kept)
        if advance.end:
            self._end(sequence, advance.end)

    def _end(self, sequence: Sequence, reason: EndReason) -> None:
        request = sequence.request
        prediction = sequence.prediction
        end = End(sequence.index, reason, *((prediction.n_accepted, prediction.n_rejected) if prediction else ()))
        self._events.append((request.id, end))
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
        abandon(request.insets)
        for sequence in list(request.running):
            self._free(sequence, keep=keep)

    def _free(self, sequence: Sequence, *, keep: bool = True) -> None:
        """`keep`: what the stream holds is right, and may serve other prompts."""
        sequence.request.running.remove(sequence)
        self._is_stalled = False
        self._waiting.sees(sequence.request.account, time.monotonic())
        self._memory.free(sequence, keep=keep)
