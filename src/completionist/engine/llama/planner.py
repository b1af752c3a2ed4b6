"""What the next step computes, as a list of calls to the library: a pure function of the sequences that hold streams.

    step = [ decode call: one row for every sequence that generates ] + [ one call for each chunk of a prompt ]

A chunk has a call of its own: the library would cut a mixed batch into the same two graph evaluations, and so the shape
in which a prompt is computed does not depend on who else is there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from completionist.engine.llama.sequence import Sequence

CHUNK_BESIDE_DECODES_TOKENS = 32
"""Prompt tokens in a step that also decodes: doubles such a step (measured: 45 → 97 ms with 15 streams)."""


class Span(NamedTuple):
    """The next `n_tokens` pending tokens of a sequence."""

    sequence: Sequence
    n_tokens: int

    @property
    def reaches_end(self) -> bool:
        """After this span the next token can be drawn, so the last position needs logits."""
        return self.n_tokens == self.sequence.n_pending


Call = list[Span]


def plan(holders: Iterable[Sequence], max_call_tokens: int) -> list[Call]:
    """Calls for one step. `holders` come by ascending stream id; a call has at most `max_call_tokens` rows."""
    decoding: Call = []
    prefilling: list[Sequence] = []
    for sequence in holders:
        if sequence.n_pending == 1:
            decoding.append(Span(sequence, 1))
        else:
            prefilling.append(sequence)
    budget = CHUNK_BESIDE_DECODES_TOKENS if decoding else max_call_tokens
    calls = [decoding] if decoding else []
    return calls + _chunks(prefilling, budget, max_call_tokens)


def _chunks(prefilling: list[Sequence], budget: int, max_call_tokens: int) -> list[Call]:
    """Prompt chunks within `budget` tokens; prompts that started first come first."""
    calls = []
    for sequence in sorted(prefilling, key=_age):
        if budget <= 0:
            break
        n_tokens = min(sequence.n_pending, budget, max_call_tokens)
        calls.append([Span(sequence, n_tokens)])
        budget -= n_tokens
    return calls


def _age(sequence: Sequence) -> int:
    return sequence.request.id
