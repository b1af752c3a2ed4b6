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

TOO_COMPLEX = "it is too complex."
"""A `Fault.reason`."""


class Part(msgspec.Struct, frozen=True):
    """One grammar of a client; a schema is JSON text, a strict one must be in the subset of section 7.2, a loose one is
    honoured if it can be."""

    kind: Literal["schema", "strict_schema", "loose_schema", "lark", "regex"]
    source: str


class Check(msgspec.Struct, frozen=True):
    """Either the `parts` of an answer's grammar that a client wrote, loose ones last, or the `whole`."""

    parts: tuple[Part, ...] = ()
    whole: GrammarSpec | None = None


class Fault(msgspec.Struct, frozen=True):
    """`part` is the position of the part to blame, 0 for the whole; `reason` the end of the message that tells the client."""

    part: int
    reason: str


class Began(msgspec.Struct, frozen=True, tag="began"):
    """`part` is about to be tried: to blame if nothing is heard any more."""

    part: int


class Verdict(msgspec.Struct, frozen=True, tag="verdict"):
    """`fault` None: the engine can take all that must be taken. `unusable`: loose parts that it cannot."""

    fault: Fault | None = None
    unusable: tuple[int, ...] = ()


Report = Began | Verdict
