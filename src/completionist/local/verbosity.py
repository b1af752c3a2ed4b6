"""`verbosity` as a short instruction to the model (contract 13.1). It is part of the prompt, and counts there."""

from __future__ import annotations

import msgspec

from completionist.types.messages import DeveloperMessage
from completionist.types.request import ChatRequest

INSTRUCTIONS = {
    "low": "Answer briefly: say only what is needed, in as few words as you can.",
    "medium": "Answer at moderate length: what is needed, with the most important explanations.",
    "high": "Answer in detail: explain every step, and give examples where they help.",
}


def with_verbosity(request: ChatRequest) -> ChatRequest:
    """`request`; where it asks for a verbosity, with the instruction as a message behind the opening system messages."""
    messages = request.messages
    if request.verbosity is None:
        return request
    n_leading = next(
        (i for i, message in enumerate(messages) if message.role not in ("system", "developer")), len(messages)
    )
    instruction = DeveloperMessage(content=INSTRUCTIONS[request.verbosity])
    shown = (*messages[:n_leading], instruction, *messages[n_leading:])
    return msgspec.structs.replace(request, messages=shown)
