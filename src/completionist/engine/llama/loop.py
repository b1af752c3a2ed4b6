"""Continuous batching: admits choices to streams, runs the planned calls of a step, draws tokens, collects the events.

It knows nothing of sockets: commands are method calls, and what a step brought is taken with `take_events`.
"""

from __future__ import annotations

from collections import deque

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
from completionist.engine.llama.model import Model
from completionist.engine.llama.planner import Call, plan
from completionist.engine.llama.runner import MAX_CALL_TOKENS, Context, DecodeFailed
from completionist.engine.llama.sampler import Row, Sampler
from completionist.engine.llama.sequence import Request, Sequence
from completionist.engine.llama.streams import Streams


class Engine:
    """All requests of one model. Single-threaded."""

    def __init__(self, model: Model, context: Context, *, max_waiting: int) -> None:
        self._model = model
        self._context = context
        self._streams = Streams(context.n_streams)
        self._sampler = Sampler(model.vocabulary_size)
        self._max_waiting = max_waiting
        self._requests: dict[int, Request] = {}
        self._waiting: deque[Request] = deque()
        self._events: list[tuple[int, TokenEvent]] = []
        self._n_steps = self._n_prompt_tokens = self._n_generated_tokens = 0

    @property
    def has_work(self) -> bool:
        return bool(self._requests)

    def submit(self, request_id: int, prompt: Prompt) -> None:
        """Queue a request, or fail it."""
        tokens = self._model.tokenise(prompt.segments)
        fault = self._objection(len(tokens))
        if fault:
            self._events.append((request_id, Failed(fault)))
            return
        request = Request(
            id=request_id,
            project=prompt.project,
            tokens=tokens,
            sampling=prompt.sampling,
            max_tokens=prompt.max_tokens,
            choices_waiting=list(range(prompt.n)),
        )
        self._requests[request_id] = request
        self._waiting.append(request)
        self._events.append((request_id, Accepted(len(tokens))))

    def _objection(self, n_tokens: int) -> Fault | None:
        if n_tokens >= self._context.stream_tokens:
            return PromptTooLong(n_tokens, self._context.stream_tokens)
        if len(self._waiting) >= self._max_waiting + self._streams.n_free:
            return QueueFull()
        return None

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
        self._admit()
        for call in plan(self._streams.holders(), MAX_CALL_TOKENS):
            self._run(call)
        self._n_steps += 1

    def take_events(self) -> tuple[tuple[int, TokenEvent], ...]:
        """What happened since the last call, in order."""
        events = tuple(self._events)
        self._events.clear()
        return events

    def stats(self) -> Stats:
        return Stats(
            running=self._context.n_streams - self._streams.n_free,
            waiting=sum(len(request.choices_waiting) for request in self._waiting),
            streams_free=self._streams.n_free,
            steps_total=self._n_steps,
            prompt_tokens_total=self._n_prompt_tokens,
            generated_tokens_total=self._n_generated_tokens,
        )

    def _admit(self) -> None:
        """Give free streams to waiting choices, in order of arrival; siblings wait until their prompt is computed."""
        for request in list(self._waiting):
            while self._streams.n_free and request.choices_waiting and not request.is_prompt_underway:
                self._start_choice(request)
        self._waiting = deque(request for request in self._waiting if request.choices_waiting)

    def _start_choice(self, request: Request) -> None:
        sequence = request.start()
        self._streams.take(sequence)
        if request.prompt_state is None or request.prompt_logits is None:
            return
        if not self._context.restore(sequence.stream, request.prompt_state):
            self._fail(request, WorkerFault("a copy of the prompt's state was refused"))
            return
        sequence.n_cells = len(request.tokens)
        self._advance(sequence, request.prompt_logits)

    def _run(self, call: Call) -> None:
        call = [span for span in call if span.sequence.stream >= 0]  # a failed call may have ended siblings
        ready = [span.sequence for span in call if span.reaches_end]
        self._n_prompt_tokens += sum(span.n_tokens for span in call if span.sequence.is_prefilling)
        try:
            rows = self._context.run(call)
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
        self._events.append((request.id, Evaluated(cached_tokens=0, cache_write_tokens=0)))
        if request.choices_waiting:
            request.prompt_state = self._context.save(sequence.stream)
            request.prompt_logits = row.copy()

    def _advance(self, sequence: Sequence, row: Row) -> None:
        """Draw the next token of a sequence, and end it where that was the last one."""
        token = self._sampler.draw(row, sequence.request.sampling, sequence.random)
        sequence.tokens.append(token)
        self._n_generated_tokens += 1
        self._events.append((sequence.request.id, Token(sequence.index, token, self._model.piece(token))))
        if self._model.ends_turn(token):
            self._end(sequence, "end_of_turn")
        elif sequence.is_at_token_limit or len(sequence.tokens) >= self._context.stream_tokens:
            self._end(sequence, "length")

    def _end(self, sequence: Sequence, reason: EndReason) -> None:
        request = sequence.request
        self._events.append((request.id, End(sequence.index, reason)))
        self._free(sequence)
        if request.is_over:
            del self._requests[request.id]

    def _fail(self, request: Request, fault: Fault) -> None:
        if request.id in self._requests:
            self._drop(request)
            self._events.append((request.id, Failed(fault)))

    def _drop(self, request: Request) -> None:
        del self._requests[request.id]
        if request in self._waiting:
            self._waiting.remove(request)
        request.choices_waiting.clear()
        for sequence in list(request.running):
            self._free(sequence)

    def _free(self, sequence: Sequence) -> None:
        sequence.request.running.remove(sequence)
        self._context.forget(self._streams.release(sequence))
