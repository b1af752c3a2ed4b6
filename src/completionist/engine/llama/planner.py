"""What the next step computes: a function of the sequences that hold streams, and of the pauses that earlier steps have earned.

    step = a token of each sequence that generates + chunks of prompts, cut into calls (see `calls`)

A prompt beside many decodes may lengthen each step by a share of what these take (see `pace`): its chunks shrink while contexts
grow. Beside few decodes such chunks would be small, and small ones cost more for each row. There a prompt that is not short
waits for a pause of the decodes, which is one step in so many that most of a stream's tokens come as fast as if there were no
prompt; in it the prompt gets nearly as long as the decodes of all these steps take, or longer.

Every prompt under way brings its allowance, up to a bound that protects other accounts' answers. The one that got its stream
first is sure of its own, so that it does not starve. The rest goes to whose account has the fewest streams, so that a key that
floods keeps nobody waiting, and then to whichever is nearest to its first token: short prompts do not queue behind a long one.

A chunk ends where an inset begins or ends, and an inset whose rows see each other both ways is one chunk. Its rows are no
tokens, so it is a call of its own.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping

from completionist.engine.llama.calls import CELL_STEP, Call, Span, attended, cut
from completionist.engine.llama.costs import Costs
from completionist.engine.llama.pace import planned
from completionist.engine.llama.sequence import Sequence

PROMPT_SHARE = 1.25
"""What one prompt may add to a step, as a share of what its decodes would take if they attended to nothing. What their contexts
add to a step is taken off, so that steps do not grow with them."""
_LEAST_SHARE = 0.75
"""Of its share that part is left to a prompt, however long the contexts are."""
MAX_PROMPT_SHARE = 6.0
"""What all prompts together may add where streams belong to several accounts. An account's own burst may take all the rows of a
step: its last request has its first token an eighth sooner, and nobody else waits."""
SHORT_ROWS = 128
"""A prompt is short if it is within its share, or makes the decodes wait no longer than for so many rows that attend to
nothing, all of them together: two of them 64 rows each."""
PAUSE_MS = 2000.0
"""What a pause may take. The default model has a whole call's rows in it; where a row takes longer there are fewer."""
STEPS_FOR_A_PAUSE = 24
"""So fewer than one of twenty tokens waits for a pause."""
SAVED_PAUSES = 3
"""So many may follow each other after quiet steps."""
MANY_DECODES = 14
"""So many streams do not stand still for one prompt: it has a chunk in each step."""
_PAUSE_TIME_SHARE = 0.45
"""Where pauses would leave it less of the time, by the costs, it has that too."""
MIN_CHUNK_TOKENS = 8
"""At the beginning of a prompt: of fewer rows the call itself would be the larger part. Further on a row takes longer, and half
as many will do."""
RUN_BESIDE_DECODES_TOKENS = 32
"""Tokens beyond the first of each sequence in a step of several: those that are certain already, or proposed."""
_LEAST_FAST_CELLS = 256
_LEAST_FAST_SHARE = 3 / 8
"""Behind so many cells a chunk that has room for this share of the fast number of rows takes that number: 64 rows behind 1,000
cells take 1.5 times as long as 32."""
_NEARLY_WHOLE, _WORTH_A_CUT = 3 / 4, 1 / 2
"""Shares of a prompt."""
_ALIKE_TOKENS = 16
"""Ways to the first token that differ by less than this are as good as equal."""
_WORTH_A_CALL_TOKENS = 4
"""The library evaluates what goes beyond the others' single rows by itself. A row there costs about half of one among
single rows, so fewer tokens are as cheap one by one."""


class Pauses:
    """Counts the steps that earn pauses."""

    def __init__(self) -> None:
        self._n_steps = SAVED_PAUSES * STEPS_FOR_A_PAUSE

    def count_step(self) -> None:
        self._n_steps = min(self._n_steps + 1, SAVED_PAUSES * STEPS_FOR_A_PAUSE)

    def take(self) -> bool:
        """Whether there is one; it is used up by that."""
        is_earned = self._n_steps >= STEPS_FOR_A_PAUSE
        self._n_steps -= STEPS_FOR_A_PAUSE * is_earned
        return is_earned


def plan(pools: Iterable[list[Sequence]], costs: Costs, max_call_tokens: int, pauses: Pauses) -> list[Call]:
    """Calls for one step. Each pool lists the sequences that can go on, by ascending stream id; a call stays within one pool
    and has at most `max_call_tokens` rows. Prompts come first: who decodes has a token each step either way, and whose prompt
    ends has the first one sooner. The step is counted in `pauses`, and takes one where it needs it.
    """
    pools = list(pools)
    holders = [one for pool in pools for one in pool]
    lengths = _lengths([one for one in holders if one.is_decoding], max_call_tokens)
    decodes = [call for pool in pools for call in _calls(pool, lengths, costs, max_call_tokens)]
    pauses.count_step()
    crowds = Counter(one.request.account for one in holders)
    prefilling = [one for one in holders if not one.is_decoding]
    prefilling.sort(key=lambda one: (crowds[one.request.account], *_nearness(one)))
    budget_ms = math.inf  # a prompt alone may take as long as it likes
    if decodes and prefilling:
        max_share = MAX_PROMPT_SHARE if len(crowds) > 1 else math.inf
        prefilling, budget_ms = _beside(decodes, prefilling, costs, pauses, max_share)
    if not prefilling:
        return decodes
    lengths |= _chunks(prefilling, costs, budget_ms, max_call_tokens)
    calls = [call for pool in pools for call in _calls(pool, lengths, costs, max_call_tokens)]
    return sorted(calls, key=_has_decodes)


def _calls(pool: list[Sequence], lengths: Mapping[Sequence, int], costs: Costs, max_call_tokens: int) -> list[Call]:
    """The calls of one context, of the sequences that have a length."""
    spans = [Span(one, lengths[one]) for one in pool if one in lengths]
    texts = [span for span in spans if span.sequence.inset is None]
    return cut(texts, costs, max_call_tokens) + [[span] for span in spans if span.sequence.inset is not None]


def _has_decodes(call: Call) -> bool:
    return any(span.sequence.is_decoding for span in call)


def _beside(
    decodes: list[Call], prefilling: list[Sequence], costs: Costs, pauses: Pauses, max_share: float
) -> tuple[list[Sequence], float]:
    """Of the prompts those that may have a chunk beside the decodes, and how long all their chunks may take."""
    decodes_ms = sum(planned(call, costs) for call in decodes)
    bare_ms = sum(costs.of(sum(span.n_tokens for span in call), 0) for call in decodes)
    share_ms = bare_ms * min(max_share, PROMPT_SHARE * len(prefilling))
    share_ms = costs.decode_factor * max(_LEAST_SHARE * share_ms, share_ms + bare_ms - decodes_ms)
    pause_ms, between_ms = PAUSE_MS / costs.chunk_factor, STEPS_FOR_A_PAUSE * decodes_ms
    n_decodes = sum(map(len, decodes))
    if n_decodes >= MANY_DECODES or pause_ms < _PAUSE_TIME_SHARE * (pause_ms + between_ms):
        return prefilling, share_ms
    short_ms = max(share_ms, SHORT_ROWS * costs.row_ms / n_decodes)
    short = [one for one in prefilling if _chunk_ms(one, one.n_in_call, costs) <= short_ms]
    if len(short) < len(prefilling) and pauses.take():
        return prefilling, pause_ms
    return short, short_ms


def _lengths(decoding: list[Sequence], max_call_tokens: int) -> dict[Sequence, int]:
    """How many tokens of each sequence to evaluate: one alone takes all that it has, several share a budget. A run that would
    be cut before it gives a row waits for the next step: in pieces it would take more evaluations, and end later."""
    if len(decoding) == 1:
        return {one: min(one.n_ahead, one.n_cells_left, max_call_tokens) for one in decoding}
    lengths = dict.fromkeys(decoding, 1)
    budget = RUN_BESIDE_DECODES_TOKENS
    for sequence in sorted(decoding, key=_age):
        n_more = min(sequence.n_ahead, sequence.n_cells_left, budget + 1) - 1
        is_cut = n_more < sequence.n_pending - 1 and budget < RUN_BESIDE_DECODES_TOKENS
        if n_more >= _WORTH_A_CALL_TOKENS and not is_cut:
            lengths[sequence] += n_more
            budget -= n_more
    return lengths


def _chunks(prefilling: list[Sequence], costs: Costs, budget_ms: float, max_tokens: int) -> dict[Sequence, int]:
    """Prompt chunks within `budget_ms` and `max_tokens`, best first. The prompt that got its stream first always has one: its
    part of the step, or all of it if that is half of the step at most and no account goes before its own.
    """
    first = min(prefilling, key=_age)
    is_next = first.request.account == prefilling[0].request.account
    if is_next and _fits(first, costs, budget_ms / 2, max_tokens // 2):
        n_sure = first.n_in_call
    else:
        n_least = min(first.n_in_call, _least_rows(first, costs))
        n_sure = max(n_least, _rows(first, costs, budget_ms / len(prefilling), max_tokens // len(prefilling)))
    left_ms, left_tokens = budget_ms - _chunk_ms(first, n_sure, costs), max_tokens - n_sure
    chunks: dict[Sequence, int] = {}
    for sequence in prefilling:
        if sequence is first:
            left_ms, left_tokens = left_ms + _chunk_ms(first, n_sure, costs), left_tokens + n_sure
        n_tokens = _rows(sequence, costs, left_ms, left_tokens)
        if chunks and _fits(sequence, costs, budget_ms, max_tokens):
            n_tokens = _not_cut(n_tokens, sequence.n_in_call, left_tokens)
        if sequence is first:
            n_tokens = first.n_in_call if _is_whole(first) else max(n_sure, n_tokens)
        if n_tokens:
            chunks[sequence] = n_tokens
            left_ms -= _chunk_ms(sequence, n_tokens, costs)
            left_tokens -= n_tokens
    return chunks


def _rows(sequence: Sequence, costs: Costs, budget_ms: float, max_tokens: int) -> int:
    """The next chunk of a prompt: what fits, or 0 where that is neither its end nor worth a piece."""
    fitting = min(float(max_tokens), costs.rows_within(budget_ms, attended(sequence.n_cells + MIN_CHUNK_TOKENS)))
    n_next = sequence.n_in_call
    n_tokens = min(n_next, int(fitting))
    is_nearly_fast = sequence.fast_rows * _LEAST_FAST_SHARE <= n_tokens < sequence.fast_rows <= min(n_next, max_tokens)
    if is_nearly_fast and sequence.n_cells >= _LEAST_FAST_CELLS:
        n_tokens = sequence.fast_rows
    n_least = n_next if _is_whole(sequence) else min(_least_rows(sequence, costs), n_next)
    return n_tokens if n_tokens >= n_least else 0


def _least_rows(sequence: Sequence, costs: Costs) -> int:
    """As many as take no longer than `MIN_CHUNK_TOKENS` at the beginning of a prompt, and half of these at least."""
    near_ms, far_ms = (costs.row_ms + costs.cell_ms * n for n in (CELL_STEP, attended(sequence.n_cells + 1)))
    return max(MIN_CHUNK_TOKENS // 2, int(MIN_CHUNK_TOKENS * near_ms / far_ms))


def _not_cut(n_tokens: int, n_next: int, max_tokens: int) -> int:
    """A prompt that a step has room for is not cut to fill one up: nearly all of it comes whole, and for little of it the next
    step will do. In two parts it would take a piece more."""
    if _NEARLY_WHOLE * n_next <= n_tokens and n_next <= max_tokens:
        return n_next
    return n_tokens if n_tokens >= _WORTH_A_CUT * n_next else 0


def _fits(sequence: Sequence, costs: Costs, budget_ms: float, max_tokens: int) -> bool:
    """Whether a step has room for all that one call may evaluate of it."""
    return sequence.n_in_call <= max_tokens and _chunk_ms(sequence, sequence.n_in_call, costs) <= budget_ms


def _is_whole(sequence: Sequence) -> bool:
    """An inset comes next that is evaluated in one call or not at all."""
    return sequence.inset is not None and sequence.inset.is_whole


def _chunk_ms(sequence: Sequence, n_tokens: int, costs: Costs) -> float:
    return costs.of(n_tokens, attended(sequence.n_cells + n_tokens))


def _age(sequence: Sequence) -> tuple[float, int]:
    """Who got its stream first. Not who came first: requests of a long queue came before everybody who asks now and then."""
    return sequence.request.started_s, sequence.request.id


def _nearness(sequence: Sequence) -> tuple[int, int]:
    """Shortest way to the first token first; of those as good as equal by stream, so that neighbours share pieces."""
    return sequence.n_pending // _ALIKE_TOKENS, sequence.stream
