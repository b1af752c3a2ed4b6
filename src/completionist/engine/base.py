"""The token-level seam: prompts in, token events out. It knows ids and bytes; chat, templates and JSON live above it.

The API process holds a `TokenEngine`; behind it is a worker process (`engine.client`) or a script (`engine.scripted`).
Everything here crosses a process border as msgpack, so every value is a small frozen struct.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal, Protocol

import msgspec


class ControlToken(msgspec.Struct, frozen=True, tag="c"):
    """A special token that the template wrote. Client text never becomes one."""

    id: int


class PlainText(msgspec.Struct, frozen=True, tag="t", omit_defaults=True):
    """A run of text, tokenised in one go with special tokens off."""

    text: str
    breakpoints: tuple[int, ...] = ()
    """Characters of it that come before a breakpoint of the prompt cache (contract 8.2), ascending."""


class MediumSlot(msgspec.Struct, frozen=True, tag="m", omit_defaults=True):
    """Where a picture or a sound of the prompt is: the projector's markers and what the model perceives between them."""

    index: int
    """In `Prompt.media`."""
    is_breakpoint: bool = False
    """A breakpoint of the prompt cache is behind it."""


Segment = ControlToken | PlainText | MediumSlot


class Picture(msgspec.Struct, frozen=True, kw_only=True, tag="picture"):
    """Pixels for a model that sees: a file with three bytes each, red, green, blue, row by row. The file is its maker's."""

    path: str
    width: int
    height: int


class Sound(msgspec.Struct, frozen=True, kw_only=True, tag="sound"):
    """Samples for a model that hears: a file of 32-bit floats, one channel at `Hearing.rate_hz`. The file is its maker's."""

    path: str
    n_samples: int


Medium = Picture | Sound
"""What a model perceives itself: it reaches it as other than text."""


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """How the next token is chosen. Defaults are OpenAI's, never the model file's (contract 13.6)."""

    temperature: float = 1.0
    """0 … 2; 0 is the most likely token, lowest id on a tie."""
    top_p: float = 1.0
    """0 … 1."""
    seed: int
    """Signed 64 bit; choice i draws from (seed, i) and from nothing else."""
    presence_penalty: float = 0.0
    """-2 … 2, taken once from every token that this choice has generated."""
    frequency_penalty: float = 0.0
    """-2 … 2, taken from a token as often as this choice has generated it."""
    logit_bias: tuple[tuple[int, int], ...] = ()
    """Pairs of a token id and what is added to its logit, -100 … 100."""
    n_alternatives: int | None = None
    """0 … 20: report probabilities, with so many of the most likely tokens. None: report none."""


Tier = Literal["priority", "default", "flex"]
"""Who is served first (contract 8.3)."""


MAX_BREAKPOINTS = 80
"""Of one prompt that are looked up: the latest (contract 8.2)."""


class Caching(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a request asks of the prefix cache (contract 13.5). Times are in seconds."""

    is_explicit: bool = False
    """Only the starts of the prompt that end at a breakpoint are looked up and kept."""
    key: str | None = None
    """Prompts of one key stay fresh, and go, together."""
    min_age_s: float = 0.0
    """Until then it is not dropped for its age, and for want of memory only after others."""
    max_age_s: float | None = None
    max_idle_s: float | None = None


class GrammarSpec(msgspec.Struct, frozen=True):
    """What a choice may look like, from its first token to its last: thinking, free text and calls are part of it.

    `source` is a grammar of llguidance, in Lark or as JSON list of grammars. Where a client wrote rules of it
    (`has_client_rules`) it gets less room to be ambiguous in.
    """

    source: str
    has_client_rules: bool


class ThinkingBudget(msgspec.Struct, frozen=True):
    """For a prompt that has already opened the thinking: after `max_tokens` tokens without the closing marker the engine
    writes `closing` itself (contract 13.2). 0 … ; with 0 it is written at once."""

    max_tokens: int
    closing: tuple[Segment, ...]
    """The marker, and what is to stand around it. What ends the thinking is its last control token, or where it has none
    its text without the blanks around it."""


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """One request to an engine."""

    project: str
    """Whose prefix cache and whose share of the engine this is."""
    key: str = ""
    """Within the project, whose part of that share."""
    segments: tuple[Segment, ...]
    media: tuple[Medium, ...] = ()
    """Their files must be there until the prompt is accepted."""
    n: int = 1
    """Choices, 1 … 128; the prompt is computed once for all."""
    max_tokens: int | None = None
    """Per choice; None: to the end of the context."""
    sampling: Sampling
    tier: Tier = "default"
    caching: Caching = Caching()
    grammar: GrammarSpec | None = None
    """None: free text."""
    looser: GrammarSpec | None = None
    """What an answer goes on with where `grammar` makes too much work or leads to where nothing fits. It allows every
    beginning that `grammar` allows."""
    prediction: str | None = None
    """What the answer may be, in whole or in parts: where it is right, the answer comes sooner (contract 8.1)."""
    thinking: ThinkingBudget | None = None
    """None: the answer may think as long as it likes."""


class Accepted(msgspec.Struct, frozen=True, tag="accepted"):
    """First event: the prompt fits and has its place in the queue."""

    prompt_tokens: int
    picture_tokens: int = 0
    """Of these what pictures take, with the markers around them."""
    sound_tokens: int = 0
    """And what sounds do."""


class Evaluated(msgspec.Struct, frozen=True, tag="evaluated"):
    """The prompt is in memory; comes once, before the first token. Both counts are of prompt tokens (contract 13.5)."""

    cached_tokens: int
    cache_write_tokens: int
    prefill_s: float = 0.0
    """Since it left the queue."""
    encode_s: float = 0.0
    """Of these, what was spent on encoding pictures and sounds; 0 where a cache had them."""


class Likelihood(msgspec.Struct, frozen=True, array_like=True):
    """How likely a token was before bias, penalties, temperature and grammar (contract 13.7)."""

    text: bytes
    """Its bytes, or the spelling of a control token."""
    is_control: bool
    logprob: float
    """Natural logarithm; -9999.0 for a token that is not among the 20 most likely."""


class Token(msgspec.Struct, frozen=True, tag="token", omit_defaults=True):
    """One generated token. `piece` is its bytes, empty for a control token (the end-of-turn token among them)."""

    index: int
    id: int
    piece: bytes
    likelihood: Likelihood | None = None
    """Where the request asked for it."""
    alternatives: tuple[Likelihood, ...] = ()
    """The most likely tokens at this place, best first."""


EndReason = Literal["end_of_turn", "length", "stopped"]


class End(msgspec.Struct, frozen=True, tag="end", omit_defaults=True):
    """This choice is complete; `stopped` answers `Generation.stop`. Where a grammar allows nothing more, it ends with
    `end_of_turn` without a token for it."""

    index: int
    reason: EndReason
    accepted_prediction_tokens: int = 0
    """Tokens of the prediction that were verified and stand in the answer."""
    rejected_prediction_tokens: int = 0
    """Tokens of the prediction that were verified and thrown away; they are not among the answer's."""


class PromptTooLong(msgspec.Struct, frozen=True, tag="prompt_too_long"):
    """The prompt leaves no room for a single token."""

    prompt_tokens: int
    context_tokens: int


class QueueFull(msgspec.Struct, frozen=True, tag="queue_full"):
    """All streams are taken, and of the queue what this tier may fill."""

    tier: Tier = "default"


class WorkerLost(msgspec.Struct, frozen=True, tag="worker_lost"):
    """The worker died, hung or is being restarted: retrying is worth while after `retry_after_s`."""

    retry_after_s: float
    started: bool
    """Whether this request had already been accepted by the worker that was lost."""


class WorkerFault(msgspec.Struct, frozen=True, tag="worker_fault"):
    """The worker could not carry on with this request; `reason` is for the log, never for the client."""

    reason: str


class GrammarRefused(msgspec.Struct, frozen=True, tag="grammar_refused"):
    """The grammar makes more work than it may, or leads to where nothing fits (`is_dead_end`), before the first token or
    later; `reason` is in the words of the grammar engine, which are not for clients."""

    reason: str
    is_dead_end: bool = False


Fault = PromptTooLong | QueueFull | WorkerLost | WorkerFault | GrammarRefused


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The whole request is over, without an answer."""

    fault: Fault


TokenEvent = Accepted | Evaluated | Token | End | Failed

MemoryKind = Literal["trim_anywhere", "trim_within_window", "checkpoints_only"]


class SpecialToken(msgspec.Struct, frozen=True):
    """A token that the library parses out of text: a control token, or a *user-defined* one, which it parses always."""

    id: int
    text: str
    kind: Literal["control", "user_defined"]
    strips_left: bool = False
    """Blanks in front of it are not part of the prompt."""
    strips_right: bool = False
    """Nor are those behind it."""


class StreamRange(msgspec.Struct, frozen=True, array_like=True):
    """Streams of one length."""

    n_streams: int
    tokens: int
    """What each of them can hold."""


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """How a model sees."""

    takes_any_size: bool
    """Larger pictures become more tokens; else each becomes as many as any other."""


class Hearing(msgspec.Struct, frozen=True, kw_only=True):
    """How a model hears."""

    rate_hz: int
    """Samples a second that it takes."""
    max_s: float | None = None
    """How long one sound may be; None: as long as there is room for what becomes of it."""


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine found in the model file and made of it."""

    name: str
    """The name clients use."""
    description: str
    """As the library describes it: architecture, size, quantisation."""
    context_tokens: int
    """The most one sequence can hold, as loaded."""
    trained_context_tokens: int
    vocabulary_size: int
    parameters: int
    weights_bytes: int
    kv_bytes: int
    """Host memory of all streams' cells."""
    streams: int
    """Sequences of any kind that decode side by side; those in short streams come on top."""
    ranges: tuple[StreamRange, ...] = ()
    """How long these are: the wide context's first, to whose longer ones a sequence moves that outgrows its own; the short
    ones for bursts last."""
    cache_bytes: int = 0
    """Host memory that prompts may take which may come again."""
    chat_template: str | None
    bos_text: str
    eos_text: str
    bos_id: int | None
    """Written in front of a prompt that does not begin with it; None where the model wants none."""
    specials: tuple[SpecialToken, ...]
    memory_kind: MemoryKind
    fingerprint: str
    """`fp_` + 10 hex digits, the same after a restart, different after any change of arithmetic (contract 13.6)."""
    engine: str
    """Which build of the library runs."""
    sight: Sight | None = None
    """None: it takes no pictures."""
    hearing: Hearing | None = None
    """None: it takes no sound."""


class Generation(Protocol):
    """One request under way: `Accepted`, `Evaluated`, tokens, one `End` per choice; or one `Failed`. Then it stops."""

    def __aiter__(self) -> AsyncIterator[TokenEvent]: ...

    def take(self) -> list[TokenEvent]:
        """What has come and has not been read yet, without waiting: a slow reader handles it all together."""
        ...

    def stop(self, index: int) -> None:
        """This choice hit a stop string: end it with reason `stopped`. Idempotent."""
        ...

    def cancel(self) -> None:
        """Drop the request and free its sequences at the engine's next step. Idempotent; no event follows."""
        ...


class TokenEngine(Protocol):
    """Runs prompts. Submitting never blocks and never raises: what is wrong comes as `Failed`."""

    @property
    def card(self) -> ModelCard: ...

    @property
    def is_ready(self) -> bool: ...

    def submit(self, prompt: Prompt) -> Generation: ...

    async def close(self) -> None: ...
