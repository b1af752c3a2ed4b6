"""What a client's grammar may hold, judged before any native code sees it (contract 4.2).

llguidance accepts more than the documented subset: names of control tokens, options that switch its rules off, operators
that cost. And it recurses as deeply as rules refer to one another, until the process dies (about 5,000 rules in a row).
"""

from __future__ import annotations

import re

MAX_CHARACTERS = 65_536
MAX_RULES = 1000
MAX_GROUPS = 100
"""Open at one place."""
MAX_NESTED_COUNT = 1000
"""What counts inside one another multiply to, `(a{0,30}){0,30}` being 900: beyond it masks take longer than steps."""

_TOKEN = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<comment>//[^\n]*|\#[^\n]*)
  | (?P<string>"(?:\\.|[^"\\\n])*"i?)
  | (?P<regex>/(?:\\.|[^/\\\n])+/[a-z]*)
  | (?P<directive>%\s*[a-zA-Z_]+)
  | (?P<name>[?!]?[a-zA-Z_][a-zA-Z0-9_-]*)
  | (?P<repeat>\{\s*[0-9]*\s*(?:,\s*[0-9]*\s*)?\})
  | (?P<number>[0-9]+)
  | (?P<mark>->|\.\.|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_PART_OF_EXPRESSION = re.compile(
    r"\\.|[\[\]()]|(?P<lazy>(?:[*+?]|\{[0-9,]{1,12}\})\?)|\{(?P<least>[0-9]{1,9})(?:,(?P<most>[0-9]{0,9}))?\}",
    re.DOTALL,
)
_IMPORT = re.compile(r"\s*common\b|\s*\(?\s*\.?common\b")
_REFUSED_MARKS = {
    '"': "a string is not closed",
    "/": "an expression is not closed",
    "~": "repetition with '~' is not supported, use '{m,n}'",
    "&": "'&' is not supported",
    "<": "token names are not supported",
    "@": "references to other grammars are not supported",
    "{": "templates are not supported",
    ".": "priorities and relative imports are not supported",
}


def lark_fault(definition: str) -> str | None:
    """What keeps `definition` out of the documented subset, None if nothing does. Linear in its length: up to 50 ms,
    which is too long for an event loop."""
    if len(definition) > MAX_CHARACTERS:
        return f"the definition is longer than {MAX_CHARACTERS} characters"
    return _Scan(definition).fault()


def regex_fault(definition: str) -> str | None:
    """The same for a regular expression."""
    if len(definition) > MAX_CHARACTERS:
        return f"the definition is longer than {MAX_CHARACTERS} characters"
    if "\n" in definition or "\r" in definition:
        return "the expression must be one line"
    return expression_fault(definition)


def expression_fault(expression: str) -> str | None:
    """Of the patterns in schemas too."""
    counts = [1]  # the largest in each open group
    is_in_class, closed_at = False, -1
    last_count = 1  # of the group that was closed last
    for found in _PART_OF_EXPRESSION.finditer(expression):
        part = found[0]
        if part in "[]":
            is_in_class = part == "["
        elif is_in_class:
            continue
        elif found["lazy"]:
            return "lazy quantifiers are not supported"
        elif part == "(":
            counts.append(1)
        elif part == ")" and len(counts) > 1:
            last_count, closed_at = counts.pop(), found.end()
            counts[-1] = max(counts[-1], last_count)
        elif found["least"]:
            inner = last_count if found.start() == closed_at else 1
            count = inner * int(found["most"] or found["least"])
            if inner > 1 and count > MAX_NESTED_COUNT:
                return f"counts inside one another multiply to more than {MAX_NESTED_COUNT}"
            counts[-1] = max(counts[-1], count)
        if len(counts) > MAX_GROUPS:
            return _TOO_DEEP
    return None


_TOO_DEEP = f"more than {MAX_GROUPS} groups inside one another"


class _Scan:
    """One pass over a Lark definition."""

    def __init__(self, definition: str) -> None:
        self._definition = definition
        self._n_rules = 0
        self._depth = 0
        self._names: list[str] = []
        self._before = ""

    def fault(self) -> str | None:
        for found in _TOKEN.finditer(self._definition):
            kind = str(found.lastgroup)
            if kind in ("space", "comment"):
                continue
            judge = getattr(self, f"_{kind}", None)
            fault: str | None = judge(found) if judge else None
            if fault:
                return fault
            self._before = kind if kind != "mark" else found[0]
            if kind == "name":
                self._names.append(found[0].lstrip("?!"))
        if self._n_rules > MAX_RULES:
            return f"more than {MAX_RULES} rules and terminals"
        return None

    def _regex(self, found: re.Match[str]) -> str | None:
        return expression_fault(found[0])

    def _directive(self, found: re.Match[str]) -> str | None:
        word = found[0][1:].strip()
        if word == "ignore" or (word == "import" and _IMPORT.match(self._definition, found.end())):
            return None
        return f"'%{word[:32]}' is not supported" if word != "import" else "only '%import common' is supported"

    def _mark(self, found: re.Match[str]) -> str | None:
        mark = found[0]
        if mark == ".":
            return None if self._names[-1:] == ["common"] else _REFUSED_MARKS[mark]
        if mark in _REFUSED_MARKS:
            return _REFUSED_MARKS[mark]
        if mark == ":":
            self._n_rules += 1
            return "options of rules are not supported" if self._before == "]" else None
        self._depth += (mark in "([") - (mark in ")]")
        return _TOO_DEEP if self._depth > MAX_GROUPS else None
