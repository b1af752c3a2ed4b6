"""Text on its way → clauses that can be spoken one by one: the first as soon as there is one, the others sentence by sentence.

"Well, it is noon. The tide"  →  "Well, "  "it is noon. "  …  "The tide"
"""

from __future__ import annotations

import re

_FIRST_CHARACTERS = 12
"""A first clause shorter than this waits for more: a word alone sounds cut off."""
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
        ends = (
            [self._end(_CLAUSE_END, _FIRST_CHARACTERS)]
            if self._is_first
            else [self._end(_SENTENCE_END, 1), self._end(_CLAUSE_END, _LONG_CHARACTERS)]
        )
        if found := [end for end in ends if end is not None]:
            return self._text[: min(found)]
        if len(self._text) > _MAX_CHARACTERS:
            return self._text[: self._text.rfind(" ", 0, _MAX_CHARACTERS) + 1 or _MAX_CHARACTERS]
        return ""

    def _end(self, ends: re.Pattern[str], least: int) -> int | None:
        for found in ends.finditer(self._text, 0, _MAX_CHARACTERS):
            end = found.end()
            if end < least or end == len(self._text):
                continue
            if not _ABBREVIATION.search(self._text, 0, end):
                return end
        return None
