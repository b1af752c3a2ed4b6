"""Text on its way → where it cites numbered sources: `[1]`, `[1, 3]`, `[1][2]` and `【1】`.

The text passes unchanged; positions count its characters from the first one fed. A number that no source has is no
citation, and neither is what stands in code: `days[1]` between backticks is an index. In an answer that is JSON only what
stands in a string is prose: `[1, 2]` outside of one is an array. `\\[1\\]` is a formula.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

_CLOSING = {"[": "]", "【": "】"}
_MAX_CHARACTERS = 32
"""Between the brackets."""
_FENCE = 3


class Citation(NamedTuple):
    """The characters from `start` to `end`, which is not among them, cite source `number`, counted from 1."""

    start: int
    end: int
    number: int


class Citations:
    """`feed` the text of an answer, then `finish`."""

    def __init__(self, n_sources: int, *, is_json: bool = False) -> None:
        self._n_sources = n_sources
        self._place: _Place = _JSONText() if is_json else _Markdown()
        self._position = 0
        self._marker: _Marker | None = None
        self._found: list[Citation] = []
        self._held: list[Citation] = []
        """In what is code if a closing backtick comes."""

    def feed(self, text: str) -> None:
        for character in text:
            self._settle(self._place.step(character))
            self._step(character)
            self._position += 1

    def finish(self) -> tuple[Citation, ...]:
        """No text will come: all citations, in their order."""
        self._settle(self._place.finish())
        return tuple(self._found)

    def _settle(self, was: _Was | None) -> None:
        if was == "prose":
            self._found += self._held
        if was is not None:
            self._held.clear()

    def _step(self, character: str) -> None:
        if character in _CLOSING:
            self._marker = _Marker(self._position, _CLOSING[character]) if self._place.may_cite else None
        elif self._marker is not None and not self._marker.takes(character):
            if character == self._marker.closing:
                self._keep(self._marker.start, self._marker.numbers())
            self._marker = None

    def _keep(self, start: int, numbers: list[int]) -> None:
        if all(1 <= number <= self._n_sources for number in numbers):
            where = self._held if self._place.is_undecided else self._found
            where += [Citation(start, self._position + 1, number) for number in numbers]


class _Marker:
    """One that is open."""

    def __init__(self, start: int, closing: str) -> None:
        self.start = start
        self.closing = closing
        self._inside = ""

    def takes(self, character: str) -> bool:
        """Whether it is still one with that, and open."""
        if character not in "0123456789, " or len(self._inside) == _MAX_CHARACTERS:
            return False
        self._inside += character
        return True

    def numbers(self) -> list[int]:
        """None of them where it is no list of numbers."""
        parts = dict.fromkeys(part.strip() for part in self._inside.split(","))
        return [int(part) for part in parts] if all(part.isdigit() for part in parts) else []


_Was = Literal["prose", "code"]


class _Place(Protocol):
    """Where in its document a text is, after `step` for the character at hand."""

    @property
    def may_cite(self) -> bool: ...

    @property
    def is_undecided(self) -> bool:
        """It may still turn out to be code: what a later step, or `finish`, returns tells."""
        ...

    def step(self, character: str) -> _Was | None: ...

    def finish(self) -> _Was | None: ...


class _JSONText:
    """Strings are prose."""

    is_undecided = False

    def __init__(self) -> None:
        self.may_cite = False
        self._is_escaped = False

    def step(self, character: str) -> None:
        if self._is_escaped:
            self._is_escaped = False
        elif character == '"':
            self.may_cite = not self.may_cite
        else:
            self._is_escaped = self.may_cite and character == "\\"

    def finish(self) -> None:
        """Nothing was undecided."""


class _Markdown:
    """Fences, and spans between two equal runs of backticks in one paragraph, are code."""

    def __init__(self) -> None:
        self._run = 0
        """Backticks up to here."""
        self._began_line = False
        """That run did."""
        self._span = 0
        """Length of the run that opened a span; 0: none is open."""
        self._fence = 0
        """Likewise of a fence."""
        self._is_line_blank = True
        self._is_escaped = self._escapes = False

    @property
    def may_cite(self) -> bool:
        return not (self._fence or self._is_escaped)

    @property
    def is_undecided(self) -> bool:
        return self._span > 0

    def step(self, character: str) -> _Was | None:
        self._is_escaped = self._escapes
        self._escapes = character == "\\" and not self._is_escaped
        if character == "`" and not self._is_escaped:
            if self._run == 0:
                self._began_line = self._is_line_blank
            self._run += 1
            self._is_line_blank = False
            return None
        was = self._end_run()
        if character != "\n":
            self._is_line_blank = self._is_line_blank and character.isspace()
        elif self._is_line_blank and self._span:
            was, self._span = "prose", 0
        else:
            self._is_line_blank = True
        return was

    def finish(self) -> _Was:
        """A span that nothing closes is none."""
        return self._end_run() or "prose"

    def _end_run(self) -> _Was | None:
        length, self._run = self._run, 0
        is_fence = self._began_line and length >= max(_FENCE, self._fence)
        was: _Was | None = None
        if length == 0:
            return None
        if self._fence:
            self._fence = 0 if is_fence else self._fence
        elif is_fence:
            was = "prose" if self._span else None
            self._span, self._fence = 0, length
        elif self._span == length:
            was, self._span = "code", 0
        elif self._span == 0:
            self._span = length
        return was
