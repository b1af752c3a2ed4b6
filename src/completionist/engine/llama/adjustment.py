"""What a client adds to the logits of one choice: its bias, and penalties on what was generated (contract 2.1, 13.6)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from completionist.engine.base import Sampling

Row = NDArray[np.float32]


class Adjustment:
    """OpenAI's formula: logit - count * frequency_penalty - (count > 0) * presence_penalty, plus the bias."""

    def __init__(self, sampling: Sampling) -> None:
        self._presence = sampling.presence_penalty
        self._frequency = sampling.frequency_penalty
        self._bias = dict(sampling.logit_bias)
        self._counts: Counter[int] = Counter()

    def count(self, token: int) -> None:
        """`token` was generated."""
        if self._presence or self._frequency:
            self._counts[token] += 1

    @contextmanager
    def applied_to(self, row: Row) -> Iterator[None]:
        """`row` has the adjusted logits inside, and its own again afterwards: others may draw from it or report it."""
        ids = list(self._bias.keys() | self._counts.keys())
        if not ids:
            yield
            return
        own = row[ids]
        row[ids] += np.fromiter(map(self._added, ids), np.float32, len(ids))
        yield
        row[ids] = own

    def _added(self, token: int) -> float:
        count = self._counts.get(token, 0)
        return self._bias.get(token, 0) - count * self._frequency - (count > 0) * self._presence
