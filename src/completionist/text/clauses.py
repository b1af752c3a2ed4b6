"""Text on its way → clauses that can be spoken one by one: the first as soon as there is one, the others sentence by sentence.

"Well, it is noon. The tide"  →  "Well, "  "it is noon. "  …  "The tide"
"""

from __future__ import annotations

import re

_FIRST_CHARACTERS = 12
"""A first clause shorter than this waits for more: a word alone sounds cut off."""
_FIRST_MAX_CHARACTERS = 24
"""And one that is longer is cut between two words: whoever listens waits for all of it to be spoken."""
_LONG_CHARACTERS = 160
"""From here on a comma ends a clause, too."""
_MAX_CHARACTERS = 300
"""Whatever stands there: the speech model takes no more at once."""

_QUOTES = '"\u2019\u201d)\\]'
_SENTENCE_END = re.compile(rf"[.!?;:…][{_QUOTES}]*\s+|\n\s*")
_CLAUSE_END = re.compile(rf"[,.!?;:…\u2013\u2014][{_QUOTES}]*\s+|\n\s*")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\"\u2018\u201c])(?:[A-Za-z]|Mr|Mrs|Ms|Dr|Prof|St|vs|No|[A-Za-z](?:\.[A-Za-z])+)\.\s+$"
)


class Clauses:
    """`feed` text, take whole clauses; `finish` gives the rest. Together they are the text."""

    def __init__(self) -> None:
        self._text = ""
        self._is_first = True

    def feed(self, text: str) -> list[str]:
        self._text += text
        clauses: list[str] = []
        while clause := self._next():
            clauses.append(clause)
            self._text = self._text[len(clause) :]
            self._is_first = False
        return clauses

    def finish(self) -> list[str]:
        """No text will come, or something else comes first."""
        rest, self._text = self._text, ""
        return [rest] if rest else []

    def _next(self) -> str:
        """Where it ends is certain only when the first character of what follows is there."""
        if self._is_first and (first := self._first()):
            return first
        least = _FIRST_CHARACTERS if self._is_first else 1
        ends = [self._end(_SENTENCE_END, least), self._end(_CLAUSE_END, _LONG_CHARACTERS)]
        if found := [end for end in ends if end is not None]:
            return self._text[: min(found)]
        return self._up_to_a_blank(_MAX_CHARACTERS) or self._text[: self._n_if_too_long()]

    def _first(self) -> str:
        end = self._end(_CLAUSE_END, _FIRST_CHARACTERS, _FIRST_MAX_CHARACTERS)
        return self._text[:end] if end is not None else self._up_to_a_blank(_FIRST_MAX_CHARACTERS)

    def _up_to_a_blank(self, maximum: int) -> str:
        """What of a text that is longer than `maximum` ends with a blank within it."""
        if len(self._text) <= maximum:
            return ""
        return self._text[: self._text.rfind(" ", 0, maximum) + 1]

    def _n_if_too_long(self) -> int:
        return _MAX_CHARACTERS if len(self._text) > _MAX_CHARACTERS else 0

    def _end(self, ends: re.Pattern[str], least: int, most: int = _MAX_CHARACTERS) -> int | None:
        for found in ends.finditer(self._text, 0, most):
            end = found.end()
            if end < least or end == len(self._text):
                continue
            if not _ABBREVIATION.search(self._text, 0, end):
                return end
        return None
