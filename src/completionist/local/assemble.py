"""Token events → deltas: bytes → characters → stop strings → text. One path for streamed and plain answers."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NoReturn

from completionist.chat.deltas import Closed, Delta, Opened, Text, Totals
from completionist.engine.base import (
    Accepted,
    End,
    EndReason,
    Evaluated,
    Failed,
    Fault,
    Generation,
    GrammarRefused,
    PromptTooLong,
    QueueFull,
    Token,
    TokenEvent,
    WorkerFault,
    WorkerLost,
)
from completionist.errors import (
    ContextLengthExceeded,
    EngineLost,
    EngineRestarting,
    FlexUnavailable,
    InvalidRequest,
    Overloaded,
    ServerError,
)
from completionist.local.likelihood import token_logprob
from completionist.log import emit
from completionist.text.stops import StopStrings
from completionist.text.utf8 import Characters
from completionist.types.completion import (
    CompletionTokensDetails,
    FinishReason,
    PromptTokensDetails,
    TokenLogprob,
    Usage,
)

_log = logging.getLogger(__name__)


class Assembler:
    """One choice: tokens in, deltas out."""

    def __init__(self, index: int, stop_strings: Sequence[str]) -> None:
        self.index = index
        self.n_tokens = 0
        """Tokens of the answer: a trimmed stop string and the end-of-turn token are among them, what came later is not."""
        self._characters = Characters()
        self._stops = StopStrings(stop_strings)
        self._texts: list[str] = []
        self._n_characters = self._n_shown = 0
        self._unshown: deque[tuple[int, TokenLogprob]] = deque()
        """Tokens of which nothing is shown yet, each with the first character that it has a part in."""
        self._end_reason: EndReason | None = None
        self._is_closed = False

    @property
    def is_over(self) -> bool:
        """The engine ended the choice, or a stop string did."""
        return self._end_reason is not None

    def feed(self, token: Token) -> bool:
        """Add a token. Returns whether it completed a stop string."""
        self.n_tokens += 1
        if token.likelihood and token.piece:  # control tokens are never part of the text
            self._unshown.append((self._n_characters, token_logprob(token.likelihood, token.alternatives)))
        self._add(self._characters.feed(token.piece))
        return self.is_over

    def finish(self, reason: EndReason) -> None:
        """No token will come."""
        self._end_reason = reason
        self._add(self._characters.finish())
        self._show(self._stops.finish())

    def deltas(self) -> Iterator[Delta]:
        """What is new since the last time: one `Text` however many tokens made it, and once `Closed`."""
        text = "".join(self._texts)
        self._texts.clear()
        if text:
            yield Text(self.index, text, tuple(self._shown_logprobs()))
        if self._end_reason and not self._is_closed:
            self._is_closed = True
            yield Closed(self.index, finish_reason(self._end_reason))

    def _add(self, text: str) -> None:
        self._n_characters += len(text)
        self._show(self._stops.feed(text))
        if self._stops.is_met:
            self._end_reason = "stopped"

    def _show(self, text: str) -> None:
        self._texts.append(text)
        self._n_shown += len(text)

    def _shown_logprobs(self) -> Iterator[TokenLogprob]:
        """Those of tokens whose text has begun to be shown; what a stop string took away stays unlisted (contract 5.3)."""
        while self._unshown and self._unshown[0][0] < self._n_shown:
            yield self._unshown.popleft()[1]


class Assembly:
    """One answer: the events of a generation in, the deltas of all choices out, in the order that the seam promises."""

    def __init__(self, n: int, stop_strings: Sequence[str], generation: Generation) -> None:
        self._generation = generation
        self._choices = [Assembler(index, stop_strings) for index in range(n)]
        self._n_ended = 0
        self._accepted = Accepted(prompt_tokens=0)
        self._evaluated = Evaluated(cached_tokens=0, cache_write_tokens=0)

    def feed(self, events: Iterable[TokenEvent]) -> Iterator[Delta]:
        """Take events that came together. Raises the `APIError` that answers a `Failed`, after what came before it."""
        touched: dict[int, Assembler] = {}
        for event in events:
            match event:
                case Token() | End():
                    choice = touched[event.index] = self._choices[event.index]
                    self._continue(choice, event)
                case Accepted():
                    self._accepted = event
                    yield from (Opened(choice.index) for choice in self._choices)
                case Evaluated():
                    self._evaluated = event
                case Failed():
                    yield from _deltas(touched.values())
                    raise_fault(event.fault)
        yield from _deltas(touched.values())
        if touched and self._n_ended == len(self._choices):
            yield Totals(self._usage())

    def _continue(self, choice: Assembler, event: Token | End) -> None:
        if isinstance(event, End):
            self._n_ended += 1
        if choice.is_over:  # the engine was told to stop, a step ago
            return
        if isinstance(event, End):
            choice.finish(event.reason)
        elif choice.feed(event):
            self._generation.stop(choice.index)

    def _usage(self) -> Usage:
        """Every token counted is one that the engine ran, the prompt once for all choices (contract 13.4)."""
        prompt_tokens = self._accepted.prompt_tokens
        completion_tokens = sum(choice.n_tokens for choice in self._choices)
        return Usage(
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            total_tokens=prompt_tokens + completion_tokens,
            prompt_tokens_details=PromptTokensDetails(
                cached_tokens=self._evaluated.cached_tokens,
                cache_write_tokens=self._evaluated.cache_write_tokens,
            ),
            completion_tokens_details=CompletionTokensDetails(),
        )


def _deltas(choices: Iterable[Assembler]) -> Iterator[Delta]:
    for choice in choices:
        yield from choice.deltas()


def finish_reason(reason: EndReason) -> FinishReason:
    """The only place that decides it (contract 5.2)."""
    return "length" if reason == "length" else "stop"


def raise_fault(fault: Fault) -> NoReturn:
    """Raises what tells the client about an engine's fault; what it must not be told is logged."""
    match fault:
        case PromptTooLong():
            raise ContextLengthExceeded(prompt_tokens=fault.prompt_tokens, context_tokens=fault.context_tokens)
        case QueueFull(tier="flex"):
            raise FlexUnavailable
        case QueueFull():
            raise Overloaded
        case WorkerLost(started=True):
            raise EngineLost
        case WorkerLost():
            raise EngineRestarting(retry_after_s=fault.retry_after_s)
        case GrammarRefused():
            raise InvalidRequest(f"This request's grammar cannot be used: {fault.reason}")
        case WorkerFault():
            emit(_log, logging.ERROR, "the engine failed a request", reason=fault.reason)
            raise ServerError
