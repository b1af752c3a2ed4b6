"""From rows of logits to the next tokens of an answer: what is forced, what is drawn, what was guessed right, what ends it.

    tokens  … t      the last row before anything proposed gives the next token
    guess       a b c
    rows      0 1 2 3    row 0 draws a: kept.  row 1 draws b: kept.  row 2 draws X: b's successor; c is thrown away

A token is drawn at each place as it would be without a guess: from the same row, with the choice's own random numbers. So
what is proposed decides how many calls an answer takes, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from completionist.engine.base import EndReason, Token
from completionist.engine.llama.likelihood import likely
from completionist.engine.llama.matcher import DeadEnd, Matcher, TooMuchWork, forbid, has
from completionist.engine.llama.model import Model
from completionist.engine.llama.prediction import LONGEST_RUN_TOKENS
from completionist.engine.llama.sampler import Row, Sampler
from completionist.engine.llama.sequence import Sequence

T = TypeVar("T")


class Advance(NamedTuple):
    """What one evaluation brought a sequence."""

    tokens: list[Token]
    n_kept: int
    """Guessed tokens that turned out right; their cells stay."""
    end: EndReason | None


class Writer:
    """Continues answers of one model. Not shared between threads."""

    def __init__(self, model: Model, *, capacity_tokens: int, can_take_back: bool) -> None:
        self._model = model
        self._capacity_tokens = capacity_tokens
        self._can_take_back = can_take_back
        self._sampler = Sampler(model.vocabulary_size)
        self._masked = np.zeros(model.vocabulary_size, np.float32)

    def guess(self, sequence: Sequence) -> list[int]:
        """Tokens worth proposing: certain ones whose likelihoods are wanted, else what the client predicts."""
        room = max(0, self._room(sequence) - 1)
        if sequence.forced:
            return list(sequence.forced)[: min(room, LONGEST_RUN_TOKENS)]
        if sequence.prediction is None or not self._can_take_back or _is_thinking(sequence):
            return []
        tokens = sequence.prediction.proposed(room)
        return tokens[: sequence.matcher.n_fitting(tokens)] if sequence.matcher and tokens else tokens

    def advance(self, sequence: Sequence, rows: NDArray[np.float32] | list[Row], n_guessed: int) -> Advance:
        """Continue by one token for the first row, and by one more for each guessed token that is right. Raises
        `GrammarFailed`."""
        tokens: list[Token] = []
        n_kept, end = 0, None
        is_from_prediction = not sequence.forced
        for row in rows:
            tokens.append(self._next(sequence, row))
            end = self._end(sequence)
            is_right = n_kept < n_guessed and sequence.guess[n_kept] == sequence.tokens[-1]
            n_kept += is_right
            if end or not is_right:
                break
        if sequence.prediction is not None and is_from_prediction:
            sequence.prediction.judge(n_guessed, n_kept)
        n_most = len(tokens) + LONGEST_RUN_TOKENS  # the rest is as certain a step later
        while end is None and sequence.forced and len(tokens) < n_most and _is_silent(sequence):
            tokens.append(self._take(sequence, sequence.forced.popleft()))
            end = self._end(sequence)
        sequence.guess = []
        return Advance(tokens, n_kept, end)

    def _next(self, sequence: Sequence, row: Row) -> Token:
        """The token behind a row, with its likelihood where that is asked for."""
        self._force(sequence)
        token = sequence.forced.popleft() if sequence.forced else self._draw(sequence, row)
        event = self._take(sequence, token)
        n_alternatives = sequence.request.sampling.n_alternatives
        return event if n_alternatives is None else likely(event, row, n_alternatives, self._model)

    def _draw(self, sequence: Sequence, row: Row) -> int:
        with sequence.adjustment.applied_to(row):
            permitted = row if sequence.matcher is None else self._permitted(sequence, sequence.matcher, row)
            return self._sampler.draw(permitted, sequence.request.sampling, sequence.random)

    def _permitted(self, sequence: Sequence, matcher: Matcher, row: Row) -> Row:
        """The row, without what the grammar forbids where that could be drawn. The row itself is reported, and other choices
        draw from it too, so a copy is masked."""
        allowed = _ask(sequence, matcher, Matcher.allowed)
        if self._sampler.is_greedy(sequence.request.sampling) and has(allowed, int(row.argmax())):
            return row
        np.copyto(self._masked, row)
        forbid(self._masked, allowed)
        return self._masked

    def _take(self, sequence: Sequence, token: int) -> Token:
        """`token` is the next one of the answer."""
        piece = self._model.piece(token)
        if sequence.matcher is not None:
            _ask(sequence, sequence.matcher, lambda matcher: matcher.accept(token))
        sequence.tokens.append(token)
        sequence.adjustment.count(token)
        if sequence.thinking is not None:
            sequence.thinking.follow(token, piece)
        if sequence.prediction is not None and not _is_thinking(sequence):
            sequence.prediction.follow(token)
        self._force(sequence)
        return Token(sequence.index, token, piece)

    def _force(self, sequence: Sequence) -> None:
        """Find out what must come next, if it is not known yet."""
        if sequence.forced:
            return
        if sequence.thinking is not None and sequence.thinking.must_close:
            sequence.forced.extend(sequence.thinking.close())
        elif sequence.matcher is not None and not sequence.matcher.is_over:
            sequence.forced.extend(_ask(sequence, sequence.matcher, Matcher.forced))

    def _end(self, sequence: Sequence) -> EndReason | None:
        """Why the answer is complete, if it is."""
        if self._model.ends_turn(sequence.tokens[-1]) or (sequence.matcher is not None and sequence.matcher.is_over):
            return "end_of_turn"
        return "length" if self._room(sequence) <= 0 else None

    def _room(self, sequence: Sequence) -> int:
        """Tokens that may still be generated."""
        room = self._capacity_tokens - len(sequence.tokens)
        limit = sequence.request.max_tokens
        return room if limit is None else min(room, limit - sequence.n_generated)


def _is_silent(sequence: Sequence) -> bool:
    """Nobody asks for likelihoods."""
    return sequence.request.sampling.n_alternatives is None


def _is_thinking(sequence: Sequence) -> bool:
    return sequence.thinking is not None and not sequence.thinking.is_over


def _ask(sequence: Sequence, matcher: Matcher, question: Callable[[Matcher], T]) -> T:
    """Of the answer's grammar, and where that fails of its looser one. Raises `DeadEnd`, `TooMuchWork`."""
    try:
        return question(matcher)
    except (DeadEnd, TooMuchWork):
        looser = sequence.loosen()
        if looser is None:
            raise
        return question(looser)
