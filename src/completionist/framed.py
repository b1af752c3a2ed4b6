"""How one process asks another: a question, an answer, each a message with its length in front.

frame = u32 little-endian length of the body · msgpack body
"""

from __future__ import annotations

import struct
from typing import BinaryIO, TypeVar

import msgspec

_HEADER = struct.Struct("<I")

_Message = TypeVar("_Message")


def frame(message: msgspec.Struct) -> bytes:
    """The message with its length in front."""
    body = msgspec.msgpack.encode(message)
    return _HEADER.pack(len(body)) + body


def read(source: BinaryIO, decoder: msgspec.msgpack.Decoder[_Message]) -> _Message | None:
    """The next message; None where the other side is gone. Raises the `OSError` of `source`."""
    header = source.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return None
    (length,) = _HEADER.unpack(header)
    body = source.read(length)
    return decoder.decode(body) if len(body) == length else None
