"""A request and its choices inside the engine. Counts are stored once; everything else is derived from them."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from completionist.engine.base import Sampling, ThinkingBudget, Tier
from completionist.engine.llama.adjustment import Adjustment
from completionist.engine.llama.insets import Inset, Insets, inset_at, n_until_edge
from completionist.engine.llama.keeping import Keeping
from completionist.engine.llama.prediction import Prediction
from completionist.engine.llama.thinking import ThinkingWatch

if TYPE_CHECKING:
    from completionist.engine.llama.matcher import Matcher
    from completionist.engine.llama.prefixes import Entry
    from completionist.engine.llama.state import State
    from completionist.engine.llama.streams import Streams

Account = tuple[str, str]
"""Project, and key within it: who has a share of the engine."""

_UINT64 = 2**64 - 1


@dataclass(slots=True, eq=False, kw_only=True)
class Request:
    """One prompt under way. Its choices wait here until a stream is free for them."""

    id: int
    project: str
    key: str = ""
    tier: Tier
    arrived_s: float
    tokens: list[int]
    """The prompt; numbers of insets' rows, which are negative, among them."""
    insets: Insets = ()
    prompt: NDArray[np.int32] = field(init=False)
    """The same, for comparing."""
    sampling: Sampling
    max_tokens: int | None
    choices_waiting: list[int]
    """Indices that have not started yet, lowest first."""
    keeping: Keeping = field(default_factory=Keeping)
    grammar: Matcher | None = None
    """At its beginning; every choice goes on with a copy."""
    looser: Matcher | None = None
    """Likewise, for choices that `grammar` fails."""
    prediction: list[int] = field(default_factory=list)
    thinking: ThinkingBudget | None = None
    closing: list[int] = field(default_factory=list)
    """The tokens of the thinking budget's closing marker."""
    running: list[Sequence] = field(default_factory=list)
    prompt_state: State | None = None
    """A copy of the evaluated prompt, kept while choices wait for it."""
    prompt_logits: NDArray[np.float32] | None = None
    """The distribution after the prompt: every choice draws its first token from it."""
    started_s: float = 0.0
    """When its first choice left the queue."""

    def __post_init__(self) -> None:
        self.prompt = np.array(self.tokens, np.int32)

    @property
    def account(self) -> Account:
        return self.project, self.key

    @property
    def is_prompt_underway(self) -> bool:
        """The first choice is computing the prompt for the others, which must wait."""
        return bool(self.running) and self.prompt_logits is None

    @property
    def is_over(self) -> bool:
        return not self.running and not self.choices_waiting

    def start(self) -> Sequence:
        """Take the next waiting choice."""
        sequence = Sequence(request=self, index=self.choices_waiting.pop(0), tokens=list(self.tokens))
        self.running.append(sequence)
        return sequence


@dataclass(slots=True, eq=False, kw_only=True)
class Sequence:
    """One choice being generated: `tokens` are prompt and answer so far, the first `n_cells` of them are in memory."""

    request: Request
    index: int
    tokens: list[int]
    n_cells: int = 0
    n_cached: int = 0
    """Prompt tokens that were found in the cache."""
    pool: Streams | None = None
    stream: int = -1
    protected_until_s: float = -math.inf
    """The prompt begins with what another request wanted kept so long."""
    entry: Entry | None = None
    """How others of the project find this sequence's cells while it runs."""
    guess: list[int] = field(default_factory=list)
    """Tokens proposed to follow `tokens` in the next call, which verifies them."""
    forced: deque[int] = field(default_factory=deque)
    """Tokens that must come next, as far as they are not among `tokens` yet."""
    random: np.random.Generator = field(init=False)
    adjustment: Adjustment = field(init=False)
    matcher: Matcher | None = field(init=False)
    is_loose: bool = False
    """Its matcher is of the looser grammar."""
    thinking: ThinkingWatch | None = field(init=False)
    prediction: Prediction | None = field(init=False)

    def __post_init__(self) -> None:
        request = self.request
        self.adjustment = Adjustment(request.sampling)
        self.random = np.random.default_rng([request.sampling.seed & _UINT64, self.index])
        self.matcher = request.grammar.copy() if request.grammar else None
        self.thinking = ThinkingWatch(request.thinking, request.closing) if request.thinking else None
        self.prediction = Prediction(request.prediction) if request.prediction else None

    def loosen(self) -> Matcher | None:
        """Go on with the looser grammar; None where there is none, or it is this one that failed. Time in proportion to what
        was generated."""
        if self.request.looser is None or self.is_loose:
            return None
        matcher = self.request.looser.copy()
        for token in self.tokens[len(self.request.tokens) :]:
            matcher.accept(token)
        self.matcher, self.is_loose = matcher, True
        return matcher

    @property
    def n_pending(self) -> int:
        """Tokens that must be evaluated before the next one can be drawn."""
        return len(self.tokens) - self.n_cells

    @property
    def inset(self) -> Inset | None:
        """The one whose rows come next; None: tokens do."""
        return inset_at(self.request.insets, self.n_cells) if self.is_prefilling else None

    @property
    def awaits_rows(self) -> bool:
        """An inset comes next, and is not encoded yet."""
        return self.inset is not None and not self.inset.is_ready

    @property
    def n_in_call(self) -> int:
        """Of the pending tokens those that one call may evaluate: insets have calls of their own."""
        return n_until_edge(self.request.insets, self.n_cells, self.n_pending)

    @property
    def n_ahead(self) -> int:
        """Tokens that can be evaluated now: those that must be, and those proposed to follow."""
        return self.n_pending + len(self.guess)

    @property
    def n_generated(self) -> int:
        return len(self.tokens) - len(self.request.tokens)

    @property
    def is_prefilling(self) -> bool:
        """Part of the prompt is not in memory yet."""
        return self.n_cells < len(self.request.tokens)

    @property
    def is_decoding(self) -> bool:
        """What is to be evaluated is no part of a prompt, or its last token alone."""
        return not self.is_prefilling or (self.n_pending == 1 and self.inset is None)

    @property
    def fast_rows(self) -> int:
        """See `Context.fast_rows`."""
        return self.pool.context.fast_rows if self.pool else 1

    @property
    def n_cells_left(self) -> int:
        """Tokens that its stream still takes."""
        return self.pool.capacity_tokens - self.n_cells if self.pool else self.n_ahead
