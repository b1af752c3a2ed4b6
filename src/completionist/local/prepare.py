"""A request → what the renderer and the engine need to know of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from completionist import ids
from completionist.chat.tiers import tier_of
from completionist.dialects.base import Dialect
from completionist.dialects.history import Turn, turns_of
from completionist.dialects.offer import described, instructions
from completionist.engine.base import GrammarSpec, Prompt, Sampling, Segment, ThinkingBudget, Tier
from completionist.local.caching import caching_of
from completionist.local.constraints import tools_of
from completionist.local.conversation import with_system_text
from completionist.local.frames import Render
from completionist.local.instructions import schema_instruction, verbosity_instruction
from completionist.local.media import media_of
from completionist.types.caller import Caller, ServiceTier
from completionist.types.formats import JSONSchemaResponse
from completionist.types.messages import text_of
from completionist.types.request import ChatRequest

_NONE: Mapping[str, str | bool] = {}
_TIERS: dict[ServiceTier, Tier] = {"default": "default", "flex": "flex", "priority": "priority", "scale": "priority"}


def question_of(request: ChatRequest, dialect: Dialect, switches: Mapping[str, str | bool] = _NONE) -> Render:
    """The conversation as the model's template takes it, with all that is to be read in it. Time in proportion to both."""
    tools = tools_of(request)
    turns: Sequence[Turn] = turns_of(request.messages)
    if in_system := list(_system_texts(request, dialect)):
        turns = with_system_text(turns, "\n\n".join(in_system))
    return Render(
        turns=tuple(dialect.write(turns)),
        tools=msgspec.json.encode(described(tools) if dialect.tools_in == "template" else []).decode(),
        has_text_arguments=dialect.history.has_text_arguments,
        switches=switches,
    )


def _system_texts(request: ChatRequest, dialect: Dialect) -> Iterator[str]:
    tools = tools_of(request)
    if tools and dialect.tools_in == "system":
        yield instructions(tools)
    if isinstance(request.response_format, JSONSchemaResponse):
        yield schema_instruction(request.response_format.json_schema)
    if request.verbosity is not None:
        yield verbosity_instruction(request.verbosity)


def prompt_of(
    request: ChatRequest,
    caller: Caller,
    *,
    segments: tuple[Segment, ...],
    grammar: GrammarSpec | None,
    thinking: ThinkingBudget | None,
    max_output_tokens: int | None,
) -> Prompt:
    """The rest of the request, beside the rendered conversation. Without a seed it gets a random one; `max_output_tokens` is
    the operator's limit (contract 13.3)."""
    return Prompt(
        project=caller.project,
        key=caller.key or "",
        segments=segments,
        media=media_of(request),
        n=n_choices(request),
        max_tokens=_lowest(request.output_limit, max_output_tokens),
        sampling=_sampling(request),
        grammar=grammar,
        prediction=text_of(request.prediction.content) if request.prediction else None,
        thinking=thinking,
        tier=_TIERS[tier_of(request, caller)],
        caching=caching_of(request),
    )


def _lowest(*limits: int | None) -> int | None:
    return min((limit for limit in limits if limit is not None), default=None)


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
