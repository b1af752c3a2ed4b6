"""The next token from a row of logits: greedy, or temperature and top-p, row by row with a reused buffer.

Row by row stays in the processor's cache where a whole batch would not; block sums make the draw cheap, and top-p finds
its threshold without sorting the vocabulary.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from completionist.engine.base import Sampling

_BLOCK = 256
_SORTED_AT_ONCE = 512
_FEW = 256
"""With top_p at 0.95 at most 5,120 tokens are heavy by it; mostly the nucleus is among far fewer."""
_LOWEST_TEMPERATURE = 1e-4  # below it a gap of 0.01 is a factor of e**100, and 1 / temperature could overflow

Row = NDArray[np.float32]


class Sampler:
    """Draws tokens from rows of `vocabulary_size` logits. Not shared between threads: it owns its buffer."""

    def __init__(self, vocabulary_size: int) -> None:
        self._n = vocabulary_size
        self._weights = np.zeros(-(-vocabulary_size // _BLOCK) * _BLOCK, np.float32)
        self._blocks = self._weights.reshape(-1, _BLOCK)

    def draw(self, row: Row, sampling: Sampling, random: np.random.Generator) -> int:
        """A token id. Temperature 0 takes the most likely one, the lowest id on a tie, and draws no random number."""
        if self.is_greedy(sampling):
            return int(row.argmax())
        weights = self._softmax(row, sampling.temperature)
        if sampling.top_p < 1:
            threshold = nucleus_threshold(weights, sampling.top_p)
            return _draw_above(weights, threshold, random.random())
        return self._draw_any(random.random())

    @staticmethod
    def is_greedy(sampling: Sampling) -> bool:
        """The most likely token is taken."""
        return sampling.temperature == 0 or sampling.top_p == 0

    def _softmax(self, row: Row, temperature: float) -> Row:
        """Unnormalised probabilities in the reused buffer; the largest is 1."""
        weights = self._weights[: self._n]
        np.subtract(row, row.max(), out=weights)
        if temperature != 1:
            np.multiply(weights, 1 / max(temperature, _LOWEST_TEMPERATURE), out=weights)
        np.exp(weights, out=weights)
        return weights

    def _draw_any(self, u: float) -> int:
        block_ends = self._blocks.sum(axis=1).cumsum(dtype=np.float64)
        target = u * block_ends[-1]
        block = _position(block_ends, target)
        within = self._blocks[block].cumsum(dtype=np.float64)
        before = block_ends[block - 1] if block else 0.0
        return block * _BLOCK + _position(within, target - before)


def _position(ends: NDArray[np.float64], target: float) -> int:
    """The part that `target` falls into. Sums that were rounded differently can put it behind the last one: then the last
    part that has any weight."""
    position = int(np.searchsorted(ends, target, side="right"))
    return position if position < len(ends) else int(ends.argmax())


def _draw_above(weights: Row, threshold: float, u: float) -> int:
    kept = np.flatnonzero(weights >= threshold)
    ends = weights[kept].cumsum(dtype=np.float64)
    return int(kept[_position(ends, u * ends[-1])])


def nucleus_threshold(weights: Row, top_p: float) -> float:
    """The largest weight t such that the tokens of weight >= t hold at least `top_p` of the whole.

    The few heavy tokens are looked at first, then all that can be needed; those are halved around their mean until a sort is
    cheap. (`compress` is four times as fast as an index of booleans.)
    """
    total = float(weights.sum())
    target = top_p * total
    candidates = _heavy(weights, total, target)
    above = 0.0  # weight of the tokens known to be in
    while len(candidates) > _SORTED_AT_ONCE:
        pivot = candidates.mean()
        is_upper = candidates > pivot
        upper = candidates.compress(is_upper)
        mass = float(upper.sum())
        if len(upper) in (0, len(candidates)):  # all but equal: the mean does not part them
            break
        if above + mass >= target:
            candidates = upper
        else:
            above += mass
            candidates = candidates.compress(~is_upper)
    ordered = np.sort(candidates)[::-1]
    reached = above + ordered.cumsum(dtype=np.float64)
    position = int(np.searchsorted(reached, target, side="left"))
    return float(ordered[min(position, len(ordered) - 1)])


def _heavy(weights: Row, total: float, target: float) -> Row:
    """Weights, in order, among which the threshold is. Of n tokens those lighter than an n-th of what the target leaves over
    are never needed; a higher bound that leaves enough does as well, and leaves fewer."""
    spare = total - target
    heavy = weights.compress(weights >= spare / _FEW)
    if float(heavy.sum()) >= target:
        return heavy
    return weights.compress(weights >= spare / len(weights))
