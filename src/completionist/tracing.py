"""What is told of a request once it is over, to whoever keeps traces. Never what was said in it."""

from __future__ import annotations

from typing import Protocol

import msgspec

from completionist.types.completion import ChatCompletion, Usage
from completionist.types.request import ChatRequest


class Stage(msgspec.Struct, frozen=True):
    """A part of the time between a request and the end of its answer."""

    name: str
    started_s: float
    ended_s: float
    """By the monotonic clock, as everything here."""


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """A create call that is over."""

    started_s: float
    ended_s: float
    stages: tuple[Stage, ...]
    """In their order; those that it reached."""
    time_to_first_chunk_s: float | None
    """Of a streamed answer that began."""
    traceparent: str | None
    """Of the trace that its client belongs to, as it was sent."""
    tracestate: str | None
    method: str
    route: str
    status: int | None
    """None: nothing was answered."""
    error: str | None
    """What ended it before its answer was complete, in few words of ours."""
    is_error: bool
    """It failed, or was answered with 5xx."""
    request_id: str
    project: str
    key: str | None
    model: str | None
    """As the client named it."""
    served_model: str | None
    request: ChatRequest | None
    """None: it could not be read."""
    usage: Usage | None
    completion: ChatCompletion | None
    """None: it did not come to its end."""


class Tracer(Protocol):
    """Keeps traces. Neither call blocks the event loop, whatever is behind it."""

    def record(self, trace: Trace) -> str:
        """Returns the id of the trace."""
        ...

    async def close(self) -> None:
        """Hand on what has not been yet, within a few seconds."""
        ...
