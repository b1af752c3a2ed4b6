"""How long chunks of prompts take in fact, and decodes compared with chunks beside them: what their costs leave out.

Costs may be another model's, or of a time when the machine was faster. A decode gives logits, and has a stream to itself; small
chunks behind many cells are slower in one kernel than in another. A step that has both shows what all this comes to on this
machine, and whatever else slows it down slows down both.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from completionist.engine.llama.calls import Call, attended
from completionist.engine.llama.costs import Costs

_WEIGHT = 1 / 16
"""Of the latest step: a long prompt has some hundred."""
_LEAST, _MOST = 1 / 2, 3.0
"""Beyond these a step was disturbed."""


class Pace:
    """Sees how long calls take."""

    def __init__(self, costs: Costs) -> None:
        self.costs = costs
        """With what calls have shown to take."""
        self._decodes, self._chunks = _Calls(), _Calls()
        self._has_seen_chunks = False

    @contextmanager
    def watch(self, call: Call) -> Iterator[None]:
        """Takes the time of `call`, which is of the step that comes to its end next. Calls that are several pieces, or neither
        decodes nor a chunk, tell nothing."""
        calls, planned_ms = self._like(call), planned(call, self.costs)
        began_s = time.perf_counter()
        yield
        if calls is not None:
            calls.planned_ms += planned_ms
            calls.ms += (time.perf_counter() - began_s) * 1000

    def _like(self, call: Call) -> _Calls | None:
        if all(span.n_tokens == 1 and span.sequence.is_decoding for span in call):
            return self._decodes
        is_chunk = len(call) == 1 and not call[0].sequence.is_decoding and call[0].sequence.inset is None
        return self._chunks if is_chunk else None

    def end_step(self) -> None:
        """All its calls have been watched."""
        decodes, chunks = self._decodes, self._chunks
        self._decodes, self._chunks = _Calls(), _Calls()
        if not chunks.ms:
            return
        before = self.costs
        factor = chunks.ms / chunks.planned_ms
        chunk_factor = _towards(before.chunk_factor, factor) if self._has_seen_chunks else factor
        self._has_seen_chunks = True
        decode_factor = before.decode_factor
        if decodes.ms:
            compared = (decodes.ms / decodes.planned_ms) / factor
            decode_factor = _towards(decode_factor, min(max(compared, _LEAST), _MOST))
        self.costs = msgspec.structs.replace(before, chunk_factor=chunk_factor, decode_factor=decode_factor)


def _towards(before: float, latest: float) -> float:
    return before + _WEIGHT * (latest - before)


class _Calls:
    """Of one step, summed."""

    planned_ms = ms = 0.0


def planned(call: Call, costs: Costs) -> float:
    """Milliseconds by the costs, as if the call were one piece."""
    n_cells = max(attended(span.sequence.n_cells + span.n_tokens) for span in call)
    return costs.of(sum(span.n_tokens for span in call), n_cells)
