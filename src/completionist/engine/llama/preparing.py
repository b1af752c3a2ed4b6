"""What a request needs before it can have a stream: its tokens, and its compiled grammar where it has one.

An ordinary prompt is tokenised at once. A long one or one with pictures or sound takes longer than a step, and a grammar may
take a second, so these are done on threads, while everything else goes on; `wake` is called from them when something is done.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from completionist.engine.base import (
    ControlToken,
    Fault,
    GrammarRefused,
    GrammarSpec,
    PlainText,
    Prompt,
    Segment,
    WorkerFault,
)
from completionist.engine.llama.keeping import Keeping
from completionist.engine.llama.matcher import DeadEnd, GrammarFailed, Grammars, Matcher
from completionist.engine.llama.model import Model
from completionist.engine.llama.projector import Projector
from completionist.engine.llama.prompting import Laid, lay
from completionist.engine.llama.quota import run_anywhere
from completionist.engine.llama.sequence import Request
from completionist.engine.llama.thinking import within

_AT_ONCE_CHARACTERS = 8_000
"""Tokenising takes 0.2 to 0.5 µs a character: 4 ms at most."""


@dataclass(slots=True, frozen=True)
class Texts:
    """All texts of a prompt, as tokens."""

    prompt: Laid
    prediction: list[int]
    closing: list[int]
    """What ends the thinking when its budget is used up."""


@dataclass(slots=True, eq=False, kw_only=True)
class Newcomer:
    """A request that is being prepared."""

    id: int
    prompt: Prompt
    arrived_s: float
    texts: Future[Texts]
    grammar: Future[Matcher] | None = None
    looser: Future[Matcher] | None = None
    is_fitting: bool = False
    """Its prompt is not too long; so its grammars are being compiled."""

    @property
    def is_ready(self) -> bool:
        return self.is_fitting and all(one is None or one.done() for one in (self.grammar, self.looser))

    @property
    def has_news(self) -> bool:
        """There is something to be done about it."""
        return self.is_ready or (self.texts.done() and not self.is_fitting)

    def fault(self) -> Fault | None:
        """What went wrong in what is done."""
        for future in (self.texts, self.grammar, self.looser):
            error = future.exception() if future is not None and future.done() else None
            if isinstance(error, GrammarFailed):
                return GrammarRefused(str(error), is_dead_end=isinstance(error, DeadEnd))
            if error is not None:
                return WorkerFault(repr(error))
        return None

    def request(self, capacity_tokens: int) -> Request:
        """What goes on to wait for a stream, which holds `capacity_tokens`; everything must be ready and right."""
        prompt, texts = self.prompt, self.texts.result()
        room_tokens = min(capacity_tokens - len(texts.prompt.tokens), prompt.max_tokens or capacity_tokens)
        return Request(
            id=self.id,
            project=prompt.project,
            key=prompt.key,
            tier=prompt.tier,
            arrived_s=self.arrived_s,
            tokens=texts.prompt.tokens,
            insets=texts.prompt.insets,
            sampling=prompt.sampling,
            max_tokens=prompt.max_tokens,
            choices_waiting=list(range(prompt.n)),
            keeping=Keeping(prompt.caching, texts.prompt.breakpoints),
            grammar=self.grammar.result() if self.grammar else None,
            looser=self.looser.result() if self.looser else None,
            prediction=texts.prediction,
            thinking=within(prompt.thinking, room_tokens) if prompt.thinking else None,
            closing=texts.closing,
        )

    def abandon(self) -> None:
        """Nobody waits any longer: what has not begun need not."""
        self.texts.cancel()


class Preparer:
    """Prepares requests of one model, texts in the order in which they came."""

    def __init__(self, model: Model, projector: Projector | None, *, capacity_tokens: int) -> None:
        self.wake: Callable[[], None] = _nobody_sleeps
        self._model = model
        self._projector = projector
        self._capacity_tokens = capacity_tokens
        self._tokenising = ThreadPoolExecutor(1, "tokenising", run_anywhere)
        self._reading = ThreadPoolExecutor(1, "vocabulary", run_anywhere)
        self._grammars: Future[Grammars] | None = None

    def prepare(self, request_id: int, prompt: Prompt, arrived_s: float) -> Newcomer:
        """Start to read its texts; short ones are done when this returns. `go_on` follows."""
        newcomer = Newcomer(id=request_id, prompt=prompt, arrived_s=arrived_s, texts=self._texts(prompt))
        self._await(newcomer.texts)
        return newcomer

    def go_on(self, newcomer: Newcomer) -> None:
        """Its prompt fits: a grammar is compiled for no other."""
        newcomer.is_fitting = True
        newcomer.grammar = self._matcher(newcomer.prompt.grammar)
        newcomer.looser = self._matcher(newcomer.prompt.looser)
        self._await(newcomer.grammar)
        self._await(newcomer.looser)

    def _await(self, future: Future[Any] | None) -> None:
        if future is not None and not future.done():
            future.add_done_callback(lambda _: self.wake())

    def _texts(self, prompt: Prompt) -> Future[Texts]:
        if prompt.media or _n_characters(prompt.segments) + len(prompt.prediction or "") > _AT_ONCE_CHARACTERS:
            return self._tokenising.submit(self._tokenise, prompt)
        done: Future[Texts] = Future()
        done.set_result(self._tokenise(prompt))
        return done

    def _tokenise(self, prompt: Prompt) -> Texts:
        closing = prompt.thinking.closing if prompt.thinking else ()
        return Texts(
            prompt=lay(prompt, self._model, self._projector),
            prediction=self._model.tokens_of(prompt.prediction or "")[: self._capacity_tokens],
            closing=[token for segment in closing for token in self._tokens(segment)],
        )

    def _tokens(self, segment: Segment) -> list[int]:
        if isinstance(segment, PlainText):
            return self._model.tokens_of(segment.text)
        return [segment.id] if isinstance(segment, ControlToken) else []

    def _matcher(self, spec: GrammarSpec | None) -> Future[Matcher] | None:
        """The first grammar has the vocabulary read before it."""
        if spec is None:
            return None
        if self._grammars is None:
            self._grammars = self._reading.submit(Grammars, self._model)
        if self._grammars.done():
            return self._grammars.result().compile(spec)
        matcher: Future[Matcher] = Future()
        self._grammars.add_done_callback(lambda grammars: _compile(grammars, spec, matcher))
        return matcher


def _nobody_sleeps() -> None:
    """Who looks at what is done at every step need not be told."""


def _n_characters(segments: tuple[Segment, ...]) -> int:
    return sum(len(segment.text) for segment in segments if isinstance(segment, PlainText))


def _compile(grammars: Future[Grammars], spec: GrammarSpec, matcher: Future[Matcher]) -> None:
    if error := grammars.exception():
        matcher.set_exception(error)
    else:
        grammars.result().compile(spec).add_done_callback(lambda compiled: _hand_over(compiled, matcher))


def _hand_over(source: Future[Matcher], target: Future[Matcher]) -> None:
    if error := source.exception():
        target.set_exception(error)
    else:
        target.set_result(source.result())
