"""From arrival times of pieces to rates and percentiles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from bench.client import Answer, Load


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def in_step_tokens_per_s(load: Load) -> float:
    """Tokens per second of all streams while every one of them was generating: behind the last first token, before the
    first last one."""
    began_s = max(answer.pieces[0].at_s for answer in load.answers)
    ended_s = min(answer.pieces[-1].at_s for answer in load.answers)
    if ended_s <= began_s:
        raise ValueError("the streams never ran side by side")
    return sum(_tokens_between(answer, began_s, ended_s) for answer in load.answers) / (ended_s - began_s)


def gaps_s(answers: Sequence[Answer], began_s: float = -math.inf, ended_s: float = math.inf) -> list[float]:
    """Times between pieces of the same stream, for those that end within the interval."""
    return [
        later.at_s - earlier.at_s
        for answer in answers
        for earlier, later in pairwise(answer.pieces)
        if began_s < later.at_s <= ended_s
    ]


def busy_s(load: Load) -> float:
    """Seconds in which at least one request was under way."""
    return _covered_s(sorted((answer.sent_s, answer.ended_s) for answer in load.answers))


def _tokens_between(answer: Answer, began_s: float, ended_s: float) -> float:
    """A piece may hold several tokens (of one character, say): it counts as the average one."""
    n_pieces = sum(began_s < piece.at_s <= ended_s for piece in answer.pieces)
    return n_pieces * answer.completion_tokens / len(answer.pieces)


def mean_batch(load: Load) -> float:
    """Streams that generate, on average over the time in which any does."""
    spans = sorted((answer.pieces[0].at_s, answer.pieces[-1].at_s) for answer in load.answers if len(answer.pieces) > 1)
    return sum(ended_s - began_s for began_s, ended_s in spans) / _covered_s(spans)


def _covered_s(spans: list[tuple[float, float]]) -> float:
    """Length of the union of intervals that are sorted by their beginning."""
    total_s, covered_s = 0.0, -math.inf
    for began_s, ended_s in spans:
        total_s += max(0.0, ended_s - max(began_s, covered_s))
        covered_s = max(covered_s, ended_s)
    return total_s
