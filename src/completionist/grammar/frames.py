"""What travels between the API process and the one that tries grammars: one question, and what becomes of it.

question    u32 little-endian length · msgpack body of a Check
answer      the same of any number of Began, and one Verdict
"""

from __future__ import annotations

import struct
from typing import Literal

import msgspec

from completionist.engine.base import GrammarSpec

HEADER = struct.Struct("<I")


class Part(msgspec.Struct, frozen=True):
    """One grammar of a client; a schema is JSON text, a strict one must be in the subset of section 7.2."""

    kind: Literal["schema", "strict_schema", "lark", "regex"]
    source: str


class Check(msgspec.Struct, frozen=True):
    """The client's `parts` of the `whole` grammar of an answer."""

    parts: tuple[Part, ...]
    whole: GrammarSpec


class Fault(msgspec.Struct, frozen=True):
    """`part` is the position of the part to blame, `reason` the end of the message that tells the client."""

    part: int
    reason: str


class Began(msgspec.Struct, frozen=True, tag="began"):
    """`part` is about to be tried: to blame if nothing is heard any more."""

    part: int


class Verdict(msgspec.Struct, frozen=True, tag="verdict"):
    """None: the engine can take the grammar."""

    fault: Fault | None


Report = Began | Verdict
