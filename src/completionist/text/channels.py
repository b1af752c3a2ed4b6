"""Where a stretch of generated text belongs: thinking, or the answer.

Control tokens have no text of their own, yet formats hang on them. Between here and the dialects they travel inside the
text, enclosed in two lone surrogates, which decoded UTF-8 can never contain:

    as_control("<|call|>")  ==  "\\udc00<|call|>\\udc01"

so that a model that only *spells* a marker writes ordinary text. What is left of them at the end is taken out again.

All machines here take text by `feed` and give the rest at `finish`; cutting the input elsewhere never changes what they
give in all. They keep back only what may still become a marker.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import msgspec

CONTROL = _OPEN = "\udc00"
"""How every control token begins in a stream."""
_CLOSE = "\udc01"
_CONTROL = re.compile(f"{_OPEN}[^{_CLOSE}]*{_CLOSE}?")


def as_control(spelling: str) -> str:
    """How the control token spelled `spelling` is written into a stream of text."""
    return f"{_OPEN}{spelling}{_CLOSE}"


def is_control(marker: str) -> bool:
    return marker.startswith(_OPEN)


def split_controls(text: str) -> list[tuple[str, bool]]:
    """`text` as (piece, whether it is the spelling of a control token), without empty pieces."""
    pieces: list[tuple[str, bool]] = []
    end = 0
    for found in _CONTROL.finditer(text):
        pieces += [(text[end : found.start()], False), (found[0].strip(_OPEN + _CLOSE), True)]
        end = found.end()
    pieces.append((text[end:], False))
    return [piece for piece in pieces if piece[0]]


class Content(msgspec.Struct, frozen=True):
    """Visible text; `at` is its first character's position in everything that was fed, control marks included."""

    text: str
    at: int


class Thought(msgspec.Struct, frozen=True):
    """Reasoning, positioned like `Content`."""

    text: str
    at: int


Span = Content | Thought

Phase = Literal["undecided", "thinking", "answer"]
"""What the text that comes next belongs to, as far as the text so far tells."""


def without_controls(span: Span) -> list[Span]:
    """`span` as unbroken stretches between the control tokens in it."""
    if _OPEN not in span.text:
        return [span] if span.text else []
    at, found = span.at, list[Span]()
    for piece, is_token in split_controls(span.text):
        if not is_token:
            found.append(type(span)(piece, at))
        at += len(piece) + (2 if is_token else 0)
    return found


class Finder:
    """Looks for the first of several markers in a stream.

    `feed` gives (text before it, marker): the text is final, and marker is None while none was found. Once one was found
    the rest of the input is in `rest`, and the finder is spent.
    """

    def __init__(self, markers: Sequence[str]) -> None:
        self._markers = markers
        self._pattern = re.compile("|".join(re.escape(marker) for marker in markers)) if markers else None
        self._held = ""
        self.rest = ""

    def feed(self, text: str) -> tuple[str, str | None]:
        text, self._held = self._held + text, ""
        found = self._pattern.search(text) if self._pattern else None
        if found:
            self.rest = text[found.end() :]
            return text[: found.start()], found[0]
        n_held = max((overlap(text, marker) for marker in self._markers), default=0)
        self._held = text[len(text) - n_held :]
        return text[: len(text) - n_held], None

    def finish(self) -> str:
        held, self._held = self._held, ""
        return held


def overlap(text: str, marker: str) -> int:
    """How many characters at the end of `text` are a beginning of `marker`, short of the whole of it."""
    for n in range(min(len(text), len(marker) - 1), 0, -1):
        if text.endswith(marker[:n]):
            return n
    return 0


class Thinking(msgspec.Struct, frozen=True, kw_only=True):
    """How a family encloses its reasoning."""

    opening: str
    closing: str


_MAX_BLANKS = 64
"""Blanks that may stand before an opening marker; more of them are an answer that begins with blanks."""


class Channels:
    """Splits a stream into thinking and the rest, which may hold control tokens still.

    Thinking is opened by its marker at the very beginning (blanks may stand before it), or, where the template has
    already written that marker, by nothing at all. Blanks right after the closing marker are taken off. A stream that ends
    while thinking has no answer. Later markers are text.
    """

    def __init__(self, thinking: Thinking | None, *, is_open: bool = False) -> None:
        self._opening = thinking.opening if thinking else ""
        self._state = "answer" if thinking is None else "thinking" if is_open else "start"
        self._finder = Finder((thinking.closing,) if thinking else ())
        self._held = ""
        self._at = 0

    @property
    def phase(self) -> Phase:
        match self._state:
            case "start":
                return "undecided"
            case "thinking":
                return "thinking"
            case _:
                return "answer"

    def feed(self, text: str) -> list[Span]:
        given: list[Span] = []
        if self._state == "start":
            text = self._open(self._held + text)
        if self._state == "thinking":
            text = self._think(text, given)
        if self._state == "blanks":
            kept = text.lstrip()
            self._at += len(text) - len(kept)
            self._state, text = ("answer" if kept else "blanks"), kept
        if self._state == "answer":
            self._give(Content, text, given)
        return given

    def finish(self) -> list[Span]:
        given: list[Span] = []
        if self._state == "start":
            self._give(Content, self._held, given)
        elif self._state == "thinking":
            self._give(Thought, self._finder.finish(), given)
        return given

    def _open(self, text: str) -> str:
        """Decide between thinking and answer as soon as the beginning shows which; what follows the decision."""
        opening, stripped = self._opening, text.lstrip()
        self._held = ""
        if len(text) - len(stripped) > _MAX_BLANKS:
            self._state = "answer"
            return text
        if stripped.startswith(opening):
            self._state = "thinking"
            self._at += len(text) - len(stripped) + len(opening)
            return stripped[len(opening) :]
        if opening.startswith(stripped):
            self._held = text
            return ""
        self._state = "answer"
        return text

    def _think(self, text: str, given: list[Span]) -> str:
        thought, marker = self._finder.feed(text)
        self._give(Thought, thought, given)
        if marker is None:
            return ""
        self._at += len(marker)
        self._state = "blanks"
        return self._finder.rest

    def _give(self, kind: type[Content | Thought], text: str, given: list[Span]) -> None:
        if text:
            given.append(kind(text, self._at))
        self._at += len(text)
