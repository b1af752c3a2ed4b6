"""A request and its choices inside the engine. Counts are stored once; everything else is derived from them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from completionist.engine.base import Sampling, Tier
from completionist.engine.llama.adjustment import Adjustment
from completionist.engine.llama.keeping import Keeping

if TYPE_CHECKING:
    from completionist.engine.llama.prefixes import Entry
    from completionist.engine.llama.state import State
    from completionist.engine.llama.streams import Streams

_UINT64 = 2**64 - 1


@dataclass(slots=True, eq=False, kw_only=True)
class Request:
    """One prompt under way. Its choices wait here until a stream is free for them."""

    id: int
    project: str
    tier: Tier
    arrived_s: float
    tokens: list[int]
    """The prompt."""
    prompt: NDArray[np.int32] = field(init=False)
    """The same, for comparing."""
    sampling: Sampling
    max_tokens: int | None
    choices_waiting: list[int]
    """Indices that have not started yet, lowest first."""
    keeping: Keeping = field(default_factory=Keeping)
    running: list[Sequence] = field(default_factory=list)
    prompt_state: State | None = None
    """A copy of the evaluated prompt, kept while choices wait for it."""
    prompt_logits: NDArray[np.float32] | None = None
    """The distribution after the prompt: every choice draws its first token from it."""

    def __post_init__(self) -> None:
        self.prompt = np.array(self.tokens, np.int32)

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
    random: np.random.Generator = field(init=False)
    adjustment: Adjustment = field(init=False)

    def __post_init__(self) -> None:
        self.adjustment = Adjustment(self.request.sampling)
        self.random = np.random.default_rng([self.request.sampling.seed & _UINT64, self.index])

    @property
    def n_pending(self) -> int:
        """Tokens that must be evaluated before the next one can be drawn."""
        return len(self.tokens) - self.n_cells

    @property
    def n_generated(self) -> int:
        return len(self.tokens) - len(self.request.tokens)

    @property
    def is_prefilling(self) -> bool:
        """Part of the prompt is not in memory yet."""
        return self.n_cells < len(self.request.tokens)

    @property
    def is_at_token_limit(self) -> bool:
        limit = self.request.max_tokens
        return limit is not None and self.n_generated >= limit
