"""Work in proportion to the messages of a request, off the event loop where they are many."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from completionist.types.request import ChatRequest

T = TypeVar("T")

_MANY = 1000
"""A part takes half a microsecond to look at, and is looked at a few times."""


async def aside(request: ChatRequest, work: Callable[[], T]) -> T:
    """What `work` gives or raises; on a thread for a long request, at once for any other."""
    return await asyncio.to_thread(work) if is_long(request) else work()


def is_long(request: ChatRequest) -> bool:
    """Whether messages, or their parts, are many."""
    messages = request.messages
    if len(messages) > _MANY:
        return True
    return sum(len(message.content) for message in messages if isinstance(message.content, tuple)) > _MANY
