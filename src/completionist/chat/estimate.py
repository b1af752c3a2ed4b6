"""How many tokens a request may come to, guessed from what costs nothing to look at: it happens on the event loop."""

from __future__ import annotations

from itertools import islice

from completionist.types.request import ChatRequest

_CHARACTERS_PER_TOKEN = 4
_PER_MESSAGE_TOKENS = 4
_PER_TOOL_TOKENS = 100
_PER_MEDIUM_TOKENS = 256
"""A picture, a sound or a file: nobody knows before it is decoded."""
_COMPLETION_TOKENS = 16
"""Of a choice without a limit."""
_MAX_LOOKS = 2_000
"""Messages and parts looked at: 1 ms. Longer requests are taken to go on as they began."""


def estimated_tokens(request: ChatRequest, context_tokens: int) -> int:
    """Prompt and answers together; neither is more than the context holds."""
    prompt = min(context_tokens, _prompt_tokens(request))
    limit = request.max_completion_tokens or request.max_tokens or _COMPLETION_TOKENS
    return prompt + (request.n or 1) * min(limit, max(1, context_tokens - prompt))


def _prompt_tokens(request: ChatRequest) -> int:
    n_characters = n_media = n_looks = n_seen = 0
    for message in request.messages:
        parts = message.content if isinstance(message.content, tuple) else (message.content,)
        for part in islice(parts, _MAX_LOOKS):
            text = part if isinstance(part, str) else getattr(part, "text", None)
            n_characters += len(text or "")
            n_media += text is None and part is not None
        n_looks += len(parts)
        n_seen += 1
        if n_looks >= _MAX_LOOKS:
            break
    n_tokens = n_characters // _CHARACTERS_PER_TOKEN + n_media * _PER_MEDIUM_TOKENS
    whole = n_tokens * len(request.messages) // max(1, n_seen)
    n_tools = len(request.tools or ()) + len(request.functions or ())
    return whole + len(request.messages) * _PER_MESSAGE_TOKENS + n_tools * _PER_TOOL_TOKENS
