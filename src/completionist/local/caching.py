"""What a request asks of the prefix cache, and where the parts end that it wants kept (contract 8.2, 13.5).

Where a part ends in the prompt is known only when the prompt has been rendered and tokenised. So a mark goes into the text
behind the last character of the part that is not blank (templates trim blanks), the renderer turns it into a place in a
run of text, and the engine that into a number of tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from completionist.engine.base import MAX_BREAKPOINTS, Caching
from completionist.types.messages import Message
from completionist.types.parts import Part, PromptCacheBreakpoint, RefusalPart, TextPart
from completionist.types.request import ChatRequest

_TTL_S = {"30m": 1800.0, "12h": 43_200.0}
_MAX_AGE_S = {"in_memory": 3600.0, "24h": 86_400.0}
_IN_MEMORY_IDLE_S = 600.0
_WRITES_IMPLICIT, _WRITES_EXPLICIT = 3, 4
"""Breakpoints of a request that are written: the latest. The end of the prompt is one more in implicit mode."""


def caching_of(request: ChatRequest) -> Caching:
    """Without a `ttl` said anywhere nothing is asked to stay; a breakpoint always says one."""
    options, retention = request.prompt_cache_options, request.prompt_cache_retention
    is_explicit = options is not None and options.mode == "explicit"
    default = options.ttl if options is not None else None
    written = _breakpoints(request.messages)[-(_WRITES_EXPLICIT if is_explicit else _WRITES_IMPLICIT) :]
    ttls = [point.ttl or default or "30m" for point in written]
    if default is not None and not is_explicit:
        ttls.append(default)
    return Caching(
        is_explicit=is_explicit,
        key=request.prompt_cache_key,
        min_age_s=max((_TTL_S[ttl] for ttl in ttls), default=0.0),
        max_age_s=None if retention is None else _MAX_AGE_S[retention],
        max_idle_s=_IN_MEMORY_IDLE_S if retention == "in_memory" else None,
    )


def with_breakpoint_marks(request: ChatRequest, mark: str) -> ChatRequest:
    """`request` with `mark` where a part with a breakpoint ends; no more of them than are looked up."""
    messages = list(request.messages)
    n_left = MAX_BREAKPOINTS
    for i in reversed(range(len(messages))):
        ends = _ends(messages[i])[-n_left:] if n_left else []
        if ends:
            messages[i] = _marked(messages[i], ends, mark)
            n_left -= len(ends)
    return msgspec.structs.replace(request, messages=tuple(messages)) if n_left < MAX_BREAKPOINTS else request


def _breakpoints(messages: Sequence[Message]) -> list[PromptCacheBreakpoint]:
    parts = (part for message in messages if isinstance(message.content, tuple) for part in message.content)
    return [part.prompt_cache_breakpoint for part in parts if part.prompt_cache_breakpoint is not None]


def _ends(message: Message) -> list[int]:
    """Parts behind which a mark stands: of those up to a breakpoint the last one that says something."""
    ends: dict[int, None] = {}
    last_said: int | None = None
    for i, part in enumerate(message.content if isinstance(message.content, tuple) else ()):
        if _text(part).strip():
            last_said = i
        if part.prompt_cache_breakpoint is not None and last_said is not None:
            ends[last_said] = None
    return list(ends)


def _marked(message: Message, ends: Sequence[int], mark: str) -> Message:
    parts: list[Part] = list(message.content or ())  # type: ignore[arg-type]  # only parts have ends
    for i in ends:
        parts[i] = _with_mark(parts[i], mark)
    return msgspec.structs.replace(message, content=tuple(parts))


def _text(part: Part) -> str:
    match part:
        case TextPart():
            return part.text
        case RefusalPart():
            return part.refusal
        case _:
            return ""


def _with_mark(part: Part, mark: str) -> Part:
    text = _text(part).replace(mark, "")
    said = text.rstrip()
    marked = said + mark + text[len(said) :]
    if isinstance(part, RefusalPart):
        return msgspec.structs.replace(part, refusal=marked)
    return msgspec.structs.replace(part, text=marked)
