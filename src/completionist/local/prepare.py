"""A request → what the renderer and the engine need to know of it."""

from __future__ import annotations

from collections.abc import Sequence

from completionist import ids
from completionist.chat.tiers import tier_of
from completionist.engine.base import Prompt, Sampling, Segment, Tier
from completionist.local.caching import caching_of
from completionist.local.conversation import Role, Turn
from completionist.types.caller import Caller, ServiceTier
from completionist.types.messages import Message
from completionist.types.request import ChatRequest

_ROLES: dict[str, Role] = {"developer": "system", "system": "system", "user": "user", "assistant": "assistant"}

_TIERS: dict[ServiceTier, Tier] = {"default": "default", "flex": "flex", "priority": "priority", "scale": "priority"}


def turns_of(messages: Sequence[Message]) -> tuple[Turn, ...]:
    """`developer` and `system` are one (contract 13.1). Roles that no prompt shows are refused before."""
    return tuple(Turn(_ROLES[message.role], message.text) for message in messages)


def prompt_of(request: ChatRequest, caller: Caller, segments: tuple[Segment, ...]) -> Prompt:
    """The rest of the request, beside the rendered conversation. Without a seed it gets a random one."""
    return Prompt(
        project=caller.project,
        segments=segments,
        n=n_choices(request),
        max_tokens=request.max_completion_tokens or request.max_tokens,
        sampling=_sampling(request),
        tier=_TIERS[tier_of(request, caller)],
        caching=caching_of(request),
    )


def n_choices(request: ChatRequest) -> int:
    return 1 if request.n is None else request.n


def _sampling(request: ChatRequest) -> Sampling:
    """What is not given has OpenAI's default, never the model file's (contract 13.6)."""
    return Sampling(
        temperature=1.0 if request.temperature is None else request.temperature,
        top_p=1.0 if request.top_p is None else request.top_p,
        seed=ids.random_seed() if request.seed is None else request.seed,
        presence_penalty=request.presence_penalty or 0.0,
        frequency_penalty=request.frequency_penalty or 0.0,
        logit_bias=tuple((request.logit_bias or {}).items()),
        n_alternatives=(request.top_logprobs or 0) if request.logprobs else None,
    )
