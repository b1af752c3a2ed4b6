"""Token events → deltas: bytes → characters → thinking, text and calls → visible text. One path for streamed and plain."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping

import msgspec
from msgspec import UNSET, structs

from completionist import ids
from completionist.chat.deltas import CallOpened, CallText, Closed, Delta, Opened, Reasoning, Text, Times, Totals
from completionist.dialects.base import Dialect
from completionist.dialects.parser import CallBegan, CallEnded, CallLost, CallPiece, Event
from completionist.engine.base import (
    Accepted,
    End,
    EndReason,
    Evaluated,
    Failed,
    Generation,
    Token,
    TokenEvent,
)
from completionist.grammar.check import ClientGrammar
from completionist.grammar.compile import ThinkingState
from completionist.grammar.forms import Offer
from completionist.local.faults import raise_fault, suspects
from completionist.local.likelihood import token_logprob
from completionist.local.visible import VisibleText
from completionist.text.channels import Content, Phase, Thought, as_control
from completionist.text.utf8 import Characters
from completionist.types.completion import (
    CompletionTokensDetails,
    FinishReason,
    PromptTokensDetails,
    TokenLogprob,
    Usage,
)

_COUNTED = TokenLogprob(token="", logprob=0.0, bytes=None, top_logprobs=())
"""In place of likelihoods that nobody asked for: how many of them come out is how many tokens are visible."""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """How the choices of an answer are read."""

    dialect: Dialect
    controls: Mapping[int, str]
    """Spellings of the model's control tokens, by id."""
    thinking: ThinkingState = "closed"
    offer: Offer | None = None
    """What may be called; None: nothing."""
    clients: tuple[ClientGrammar, ...] = ()
    """Schemas and grammars of the client's in the grammar of the answer."""
    is_forced_by_name: bool = False
    is_legacy: bool = False
    """Calls are those of the deprecated `functions`."""
    stop_strings: tuple[str, ...] = ()
    shows_reasoning: bool = False
    is_spoken: bool = False
    """Visible text is spoken, so its tokens are counted."""
    has_split: bool = False
    """The usage tells text from sound and pictures."""


class Assembler:
    """One choice: tokens in, deltas out."""

    def __init__(self, index: int, reading: Reading) -> None:
        self.index = index
        self.n_tokens = 0
        """Tokens of the answer: a trimmed stop string and the end-of-turn token are among them, what came later is not."""
        self.n_reasoning_tokens = 0
        """Of these the ones of its thinking, markers included."""
        self.n_spoken_tokens = 0
        """Of these the ones of visible text, where it is spoken."""
        self._reading = reading
        self._characters = Characters()
        self._n_characters = 0
        self._parser = reading.dialect.parser(reading.offer, reading.thinking)
        self._may_think = reading.dialect.is_message_wise or reading.dialect.layout.thinking is not None
        self._visible = VisibleText(reading.stop_strings, may_call=reading.offer is not None)
        self._n_undecided_tokens = 0
        self._pieces: list[str] = []
        """Of the arguments of the last call, not in a delta yet."""
        self._ready: list[Delta] = []
        self.called: str | None = None
        """The tool that is being called, or was last."""
        self._end_reason: EndReason | None = None
        self._is_closed = False

    @property
    def is_over(self) -> bool:
        """The engine ended the choice, or a stop string did."""
        return self._end_reason is not None

    def feed(self, token: Token) -> bool:
        """Add a token. Returns whether it completed a stop string."""
        self.n_tokens += 1
        start, phase = self._n_characters, self._parser.phase if self._may_think else "answer"
        text = self._decoded(token)
        self._n_characters += len(text)
        if token.likelihood and token.piece:  # control tokens are never part of the text
            logprob = token_logprob(token.likelihood, token.alternatives)
            self._visible.list_token(start, self._n_characters, logprob)
        elif self._reading.is_spoken and token.piece:
            self._visible.list_token(start, self._n_characters, _COUNTED)
        self._read(self._parser.feed(text))
        if self._may_think:
            self._count_reasoning(phase, self._parser.phase)
        return self._end_reason is not None

    def finish(self, reason: EndReason) -> None:
        """No token will come."""
        self._end_reason = reason
        self._read(self._parser.feed(self._characters.finish()))
        self._read(self._parser.finish())
        self._visible.finish()

    def deltas(self) -> Iterator[Delta]:
        """What is new since the last time: one delta of a kind however many tokens made it, and once `Closed`."""
        self._flush()
        yield from self._ready
        self._ready.clear()
        if self._end_reason and not self._is_closed:
            self._is_closed = True
            yield Closed(self.index, finish_reason(self._end_reason, self._reading, has_called=self.called is not None))

    def _decoded(self, token: Token) -> str:
        spelling = self._reading.controls.get(token.id) if not token.piece else None
        if spelling is None:
            return self._characters.feed(token.piece)
        return self._characters.finish() + as_control(spelling)

    def _read(self, events: Iterable[Event]) -> None:
        for event in events:
            match event:
                case Content():
                    self._visible.feed(event)
                    if self._visible.is_stopped:
                        self._end_reason = "stopped"
                        return
                case Thought():
                    if self._reading.shows_reasoning:
                        self._ready.append(Reasoning(self.index, event.text))
                case CallBegan():
                    self._open_call(event)
                case CallPiece():
                    self._pieces.append(event.text)
                case CallLost():
                    self._visible.before_call()
                case CallEnded():
                    pass  # the next call, or the end of the choice, says as much

    def _open_call(self, call: CallBegan) -> None:
        self._visible.before_call()
        self._flush()
        self.called = call.name
        if self._reading.is_legacy:
            opened = CallOpened(self.index, "legacy", "", call.name)
        else:
            opened = CallOpened(self.index, "custom" if call.is_custom else "function", ids.call_id(), call.name)
        self._ready.append(opened)

    def _flush(self) -> None:
        """Text that waits beside arguments came after them: what came before was flushed when the call opened."""
        text, logprobs = self._visible.take()
        if self._reading.is_spoken:
            self.n_spoken_tokens += len(logprobs)
            logprobs = ()
        if self._pieces:
            self._ready.append(CallText(self.index, "".join(self._pieces)))
            self._pieces.clear()
        if text:
            self._ready.append(Text(self.index, text, logprobs))

    def _count_reasoning(self, before: Phase, after: Phase) -> None:
        """Both markers count; an opening one may be several tokens, and shows itself with the last of them."""
        if "thinking" in (before, after):
            self.n_reasoning_tokens += 1 + self._n_undecided_tokens
            self._n_undecided_tokens = 0
        elif after == "undecided":
            self._n_undecided_tokens += 1
        else:
            self._n_undecided_tokens = 0


class Assembly:
    """One answer: the events of a generation in, the deltas of all choices out, in the order that the seam promises."""

    def __init__(self, n: int, reading: Reading, generation: Generation, *, unheard_tokens: int | None = None) -> None:
        """`unheard_tokens`: of the prompt without the words that were heard; None: none were."""
        self._reading = reading
        self._generation = generation
        self._unheard_tokens = unheard_tokens
        self._has_split = reading.has_split
        self._choices = [Assembler(index, reading) for index in range(n)]
        self._n_ended = self._n_predicted = self._n_mispredicted = 0
        self._accepted = Accepted(prompt_tokens=0)
        self._evaluated = Evaluated(cached_tokens=0, cache_write_tokens=0)
        self._is_evaluated = False
        self.times = Times()

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
                    self.times = Times(accepted_s=time.monotonic())
                    yield from (Opened(choice.index, event.prompt_tokens) for choice in self._choices)
                case Evaluated():
                    self._evaluated = event
                    self._is_evaluated = True
                    now_s = time.monotonic()
                    self.times = structs.replace(
                        self.times,
                        started_s=now_s - event.prefill_s,
                        evaluated_s=now_s,
                        encode_s=event.encode_s,
                    )
                case Failed():
                    yield from _deltas(touched.values())
                    raise_fault(event.fault, self._suspects())
        yield from _deltas(touched.values())
        if touched and self._n_ended == len(self._choices):
            yield Totals(self._usage())

    def _continue(self, choice: Assembler, event: Token | End) -> None:
        if isinstance(event, End):
            self._n_ended += 1
            self._n_predicted += event.accepted_prediction_tokens
            self._n_mispredicted += event.rejected_prediction_tokens
        if choice.is_over:  # the engine was told to stop, a step ago
            return
        if isinstance(event, End):
            choice.finish(event.reason)
        elif choice.feed(event):
            self._generation.stop(choice.index)

    def usage(self) -> Usage | None:
        """Of what has come so far; None where the prompt was not evaluated."""
        return self._usage() if self._is_evaluated else None

    def _suspects(self) -> list[ClientGrammar]:
        called = {choice.called for choice in self._choices if choice.called}
        return suspects(self._reading.clients, self._reading.offer, called)

    def _usage(self) -> Usage:
        """Every token counted is one that the engine ran, the prompt once for all choices (contract 13.4)."""
        prompt_tokens = self._accepted.prompt_tokens
        words_tokens = 0 if self._unheard_tokens is None else prompt_tokens - self._unheard_tokens
        heard_tokens = words_tokens + self._accepted.sound_tokens
        picture_tokens = self._accepted.picture_tokens
        completion_tokens = sum(choice.n_tokens for choice in self._choices) + self._n_mispredicted
        reasoning_tokens = sum(choice.n_reasoning_tokens for choice in self._choices)
        spoken_tokens = sum(choice.n_spoken_tokens for choice in self._choices)
        text_tokens = completion_tokens - reasoning_tokens - spoken_tokens - self._n_mispredicted
        return Usage(
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            total_tokens=prompt_tokens + completion_tokens,
            prompt_tokens_details=PromptTokensDetails(
                cached_tokens=self._evaluated.cached_tokens,
                cache_write_tokens=self._evaluated.cache_write_tokens,
                audio_tokens=heard_tokens,
                text_tokens=prompt_tokens - heard_tokens - picture_tokens if self._has_split else UNSET,
                image_tokens=picture_tokens if self._has_split else UNSET,
            ),
            completion_tokens_details=CompletionTokensDetails(
                reasoning_tokens=reasoning_tokens,
                audio_tokens=spoken_tokens,
                text_tokens=text_tokens if self._has_split else UNSET,
                accepted_prediction_tokens=self._n_predicted,
                rejected_prediction_tokens=self._n_mispredicted,
            ),
        )


def _deltas(choices: Iterable[Assembler]) -> Iterator[Delta]:
    for choice in choices:
        yield from choice.deltas()


def finish_reason(reason: EndReason, reading: Reading, *, has_called: bool) -> FinishReason:
    """The only place that decides it (contract 4.3, 5.2)."""
    if reason == "length":
        return "length"
    if not has_called or reading.is_forced_by_name:
        return "stop"
    return "function_call" if reading.is_legacy else "tool_calls"
