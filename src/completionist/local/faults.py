"""What an engine's fault becomes for the client (contract 9.2, 9.3): what it must not be told is logged."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import NoReturn

from completionist.engine.base import Fault, GrammarRefused, PromptTooLong, QueueFull, WorkerFault, WorkerLost
from completionist.errors import (
    ContextLengthExceeded,
    EngineLost,
    EngineRestarting,
    FlexUnavailable,
    Overloaded,
    ServerError,
)
from completionist.grammar.check import ClientGrammar
from completionist.grammar.forms import Offer
from completionist.grammar.frames import TOO_COMPLEX
from completionist.log import emit

_log = logging.getLogger(__name__)

_DEAD_END = "it leads to a place where nothing fits."


def raise_fault(fault: Fault, suspects: Sequence[ClientGrammar] = ()) -> NoReturn:
    """`suspects`: the client's grammars in the answer, the likeliest to have failed it first. Raises an `APIError`."""
    match fault:
        case PromptTooLong():
            raise ContextLengthExceeded(prompt_tokens=fault.prompt_tokens, context_tokens=fault.context_tokens)
        case QueueFull(tier="flex"):
            raise FlexUnavailable
        case QueueFull():
            raise Overloaded
        case WorkerLost(started=True):
            raise EngineLost
        case WorkerLost():
            raise EngineRestarting(retry_after_s=fault.retry_after_s)
        case GrammarRefused() if suspects:
            raise suspects[0].refusal(_DEAD_END if fault.is_dead_end else TOO_COMPLEX)
        case GrammarRefused() | WorkerFault():
            emit(_log, logging.ERROR, "the engine failed a request", reason=fault.reason)
            raise ServerError


def suspects(clients: Sequence[ClientGrammar], offer: Offer | None, called: Collection[str]) -> list[ClientGrammar]:
    """Of `clients` those whose grammar may have failed an answer: of tools that are being called, by name, first; then that
    of its text; then of what else may be called."""
    names = {tool.param: tool.name for tool in offer.callables} if offer else {}
    concerned = [client for client in clients if client.param in names or client.param == "response_format"]
    return sorted(concerned, key=lambda client: (names.get(client.param) not in called, client.param in names))
