"""Pictures of a request on their way into a prompt: a mark in the text, a slot among the segments, pixels beside them.

Templates have their own ways to place a picture, each for its family's own preprocessor. Here they get text: a mark where
the picture is. The engine puts the family's markers around it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from completionist.engine.base import Picture, PictureSlot, Segment
from completionist.errors import ChatTemplateRefusal
from completionist.types.messages import Message
from completionist.types.parts import SeenPart
from completionist.types.request import ChatRequest


def pictures_of(request: ChatRequest) -> tuple[Picture, ...]:
    """In the order of the messages."""
    return tuple(
        Picture(path=part.pixels.path, width=part.pixels.width, height=part.pixels.height)
        for message in request.messages
        for part in _seen(message)
    )


def with_picture_marks(request: ChatRequest, mark: str) -> ChatRequest:
    """`request` with the number of each picture, between two of `mark`, in its place."""
    if not any(map(_seen, request.messages)):
        return request
    messages: list[Message] = []
    n = 0
    for message in request.messages:
        seen = _seen(message)
        messages.append(_marked(message, n, mark) if seen else message)
        n += len(seen)
    return msgspec.structs.replace(request, messages=tuple(messages))


def placed(segments: Iterable[Segment], n_pictures: int) -> tuple[Segment, ...]:
    """`segments` without slots for pictures that there are not. Raises `ChatTemplateRefusal` where one is not shown."""
    kept = tuple(one for one in segments if not isinstance(one, PictureSlot) or one.index < n_pictures)
    if len({one.index for one in kept if isinstance(one, PictureSlot)}) < n_pictures:
        raise ChatTemplateRefusal("it leaves out a picture")
    return kept


def _seen(message: Message) -> Sequence[SeenPart]:
    parts = message.content if isinstance(message.content, tuple) else ()
    return [part for part in parts if isinstance(part, SeenPart)]


def _marked(message: Message, n: int, mark: str) -> Message:
    parts = list(message.content or ())
    for i, part in enumerate(parts):
        if isinstance(part, SeenPart):
            parts[i] = msgspec.structs.replace(part, text=f"{mark}{n}{mark}")
            n += 1
    return msgspec.structs.replace(message, content=tuple(parts))
