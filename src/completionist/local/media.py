"""Pictures and sounds of a request on their way into a prompt: a mark in the text, a slot among the segments, a file beside.

Templates have their own ways to place a picture, each for its family's own preprocessor. Here they get text: a mark where
the medium is. The engine puts the family's markers around it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from completionist.engine.base import Medium, MediumSlot, Picture, Segment, Sound
from completionist.errors import ChatTemplateRefusal
from completionist.types.messages import Message
from completionist.types.parts import PerceivedPart, Pixels, Samples
from completionist.types.request import ChatRequest


def media_of(request: ChatRequest) -> tuple[Medium, ...]:
    """In the order of the messages."""
    return tuple(_medium(part.medium) for message in request.messages for part in _perceived(message))


def _medium(decoded: Pixels | Samples) -> Medium:
    if isinstance(decoded, Samples):
        return Sound(path=decoded.path, n_samples=decoded.n_samples)
    return Picture(path=decoded.path, width=decoded.width, height=decoded.height)


def with_medium_marks(request: ChatRequest, mark: str) -> ChatRequest:
    """`request` with the number of each medium, between two of `mark`, in its place."""
    if not any(map(_perceived, request.messages)):
        return request
    messages: list[Message] = []
    n = 0
    for message in request.messages:
        seen = _perceived(message)
        messages.append(_marked(message, n, mark) if seen else message)
        n += len(seen)
    return msgspec.structs.replace(request, messages=tuple(messages))


def placed(segments: Iterable[Segment], n_media: int) -> tuple[Segment, ...]:
    """`segments` without slots for media that there are not. Raises `ChatTemplateRefusal` where one is left out."""
    kept = tuple(one for one in segments if not isinstance(one, MediumSlot) or one.index < n_media)
    if len({one.index for one in kept if isinstance(one, MediumSlot)}) < n_media:
        raise ChatTemplateRefusal("it leaves out a picture or a sound")
    return kept


def _perceived(message: Message) -> Sequence[PerceivedPart]:
    parts = message.content if isinstance(message.content, tuple) else ()
    return [part for part in parts if isinstance(part, PerceivedPart)]


def _marked(message: Message, n: int, mark: str) -> Message:
    parts = list(message.content or ())
    for i, part in enumerate(parts):
        if isinstance(part, PerceivedPart):
            parts[i] = msgspec.structs.replace(part, text=f"{mark}{n}{mark}")
            n += 1
    return msgspec.structs.replace(message, content=tuple(parts))
