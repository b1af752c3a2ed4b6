"""What of a prompt was heard: its tokens are the difference to the prompt without the words (contract 13.4)."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from completionist.types.messages import Message
from completionist.types.parts import HeardPart, Part, PerceivedPart, PictureTextPart
from completionist.types.request import ChatRequest


def has_heard(request: ChatRequest) -> bool:
    return any(isinstance(part, HeardPart) for part in _parts(request))


def has_media(request: ChatRequest) -> bool:
    """Whether it came with sound or a picture, or something that became one."""
    return any(isinstance(part, HeardPart | PictureTextPart | PerceivedPart) for part in _parts(request))


def _parts(request: ChatRequest) -> Iterator[Part]:
    for message in request.messages:
        if isinstance(message.content, tuple):
            yield from message.content


def unheard(request: ChatRequest) -> ChatRequest:
    """`request` without the words that were heard."""
    return msgspec.structs.replace(request, messages=tuple(map(_unheard, request.messages)))


def _unheard(message: Message) -> Message:
    if not isinstance(message.content, tuple):
        return message
    content = [_silenced(part) if isinstance(part, HeardPart) else part for part in message.content]
    return msgspec.structs.replace(message, content=tuple(content))


def _silenced(part: HeardPart) -> HeardPart:
    """Only the blanks around its words stay."""
    words = part.text.strip()
    return msgspec.structs.replace(part, text=part.text.replace(words, "", 1) if words else part.text)
