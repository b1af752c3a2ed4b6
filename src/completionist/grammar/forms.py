"""The data that grammar, parser and prompt of a dialect share: what a call looks like, and what may be called.

All texts may hold control tokens, written as `text.channels.as_control` does. A run of blanks in them stands for itself
where we force the text, and for any few blanks, or none, where a model writes it freely.
"""

from __future__ import annotations

from typing import Literal

import msgspec

MAX_CALLS = 128
"""In one answer (contract 4.3)."""


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """One way to write calls.

    section_opening  opening NAME middle ARGUMENTS closing  separator  opening …  section_closing
    """

    opening: str
    middle: str
    closing: str = ""
    section_opening: str = ""
    section_closing: str = ""
    separator: str = ""
    marker: str = ""
    """The beginning of `section_opening + opening` that means a call and nothing else. Empty: a call is recognised only by
    the name of a tool that is on offer."""
    max_calls: int = MAX_CALLS

    @property
    def head(self) -> str:
        return self.section_opening + self.opening


class StrictArguments(msgspec.Struct, frozen=True, tag="strict"):
    """`schema` is JSON text."""

    schema: str


class LooseArguments(msgspec.Struct, frozen=True, tag="loose"):
    """`schema` is JSON text of an object's; what of it cannot be enforced is let go."""

    schema: str


class AnyArguments(msgspec.Struct, frozen=True, tag="any"):
    """Any JSON object."""


class NoArguments(msgspec.Struct, frozen=True, tag="none"):
    """The empty object."""


class FreeInput(msgspec.Struct, frozen=True, tag="free"):
    """Any text, written as a JSON string."""


class GrammarInput(msgspec.Struct, frozen=True, tag="grammar"):
    """Text of a client's grammar, written as it is."""

    syntax: Literal["lark", "regex"]
    definition: str


FunctionArguments = StrictArguments | LooseArguments | AnyArguments | NoArguments
CustomInput = FreeInput | GrammarInput


class Callable(msgspec.Struct, frozen=True, kw_only=True):
    """A tool that may be called in this answer. `param` is where the request defines it."""

    name: str
    takes: FunctionArguments | CustomInput
    param: str

    @property
    def is_custom(self) -> bool:
        return isinstance(self.takes, FreeInput | GrammarInput)


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """What may be called, at least one tool, and whether something must be."""

    callables: tuple[Callable, ...]
    is_required: bool
    max_calls: int = MAX_CALLS


INPUT_KEY = "input"
INPUT_OPENING = '{"input": "'
INPUT_CLOSING = '"}'
"""A custom tool is a function of one string, as far as models know. Text of a client's grammar stands raw between these."""
