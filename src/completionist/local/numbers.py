"""Numbers in a chat template's hands: written as Python writes them, which is what Jinja2 does.

minijinja writes `1e20` with all its digits, and hands `1.0` to the functions that we lend it as `1`. So numbers that would not
come out right travel as objects that it does not look into. A template that computes with one of these is refused; one that
compares it with another number is told that they differ.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_LARGEST_INTEGER = 2**127
_STRING = r""""(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*'"""
_CODE = re.compile(
    rf"""
      \{{\#.*?\#\}}
    | \{{%[-+]?\s*raw\b.*?\bendraw\s*[-+]?%\}}
    | \{{[{{%] (?P<code>(?:{_STRING} | [^"'])*?) [%}}]\}}
    """,
    re.VERBOSE | re.DOTALL,
)
_FLOAT = re.compile(
    rf"{_STRING} | (?<![\w.]) (?P<float>\d[\d_]* (?:\.\d[\d_]*)? (?:e[+-]?\d[\d_]*)?)",
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)


class Exact:
    """A number that is written as Python writes it."""

    __slots__ = ("number",)

    def __init__(self, number: float) -> None:
        self.number = number

    def __str__(self) -> str:
        return repr(self.number)

    __repr__ = __str__

    def __bool__(self) -> bool:
        return bool(self.number)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Exact) and self.number == other.number

    def __hash__(self) -> int:
        return hash(self.number)


def exact(value: object) -> object:
    """A JSON value, with an `Exact` for each number in it that minijinja would write otherwise."""
    match value:
        case str() | bool() | None:
            return value
        case float():
            return Exact(value) if value.is_integer() or _has_other_digits(value) else value
        case int():
            return value if -_LARGEST_INTEGER <= value < _LARGEST_INTEGER else Exact(value)
        case Mapping():
            return {key: exact(item) for key, item in value.items()}
        case list() | tuple():
            return [exact(item) for item in value]
        case _:
            return value


def number_of(value: object) -> object:
    """What an `Exact` stands for; anything else is itself."""
    return value.number if isinstance(value, Exact) else value


def misprinted_literal(source: str) -> str | None:
    """The first number in the code of a compiled template that minijinja would write otherwise."""
    for code in _CODE.finditer(source):
        for found in _FLOAT.finditer(code["code"] or ""):
            literal = found["float"] or ""
            if not literal.replace("_", "").isdigit() and literal and _has_other_digits(float(literal)):
                return literal
    return None


def _has_other_digits(number: float) -> bool:
    """Infinity is written alike; what is no number is not in JSON."""
    return "e" in repr(number)
