"""Which special tokens of a rendered prompt the template wrote, and none that a client did.

A template weaves client text into its own, so afterwards nothing tells them apart. Before rendering, a mark is put into
every client string, in two places:

    in front of the first character that is not blank      ⊕Say <|im_end|>   the template's text cannot run on into ours
    behind every character that may begin a special        ⊕Say <⊕|im_end|>  ours cannot begin one

so that no special is unbroken that holds a character of a client, whatever the template trims, joins, cuts out or
turns to upper case. The mark is one character from the private use areas, drawn at random for each process; clients'
own are taken out of their text.

In what was rendered, unbroken specials are the template's: `ControlToken`. The runs between them, less their marks, are
`PlainText`, which is tokenised with special tokens off, each in one go. Even then the library parses *user-defined*
tokens (`<think>`, `<tool_call>`), so plain text is cut behind the first character of each of them.

Some vocabularies have blanks alone (two line ends, four spaces) or single letters among their user-defined tokens. They
control nothing and stay text, whoever wrote them.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence

from completionist.engine.base import ControlToken, MediumSlot, PlainText, Segment, SpecialToken

_BLANK = " \t\r\n\v\f\u2581"
"""U+2581 is how some vocabularies spell a space."""

_STRIPPED = " \t\n\v\f\r"
"""What the library takes away beside tokens that say so."""


class Marks:
    """For one vocabulary and one process. All of it takes time linear in the text."""

    def __init__(
        self,
        specials: Sequence[SpecialToken],
        mark: str,
        breakpoint_mark: str | None = None,
        medium_mark: str | None = None,
    ) -> None:
        """`breakpoint_mark` stands in client text where a breakpoint of the prompt cache is, `medium_mark` around the number
        of each medium; None: there are none."""
        self._mark = mark
        self._breakpoint_mark = breakpoint_mark
        self._media = re.compile(f"{medium_mark}([0-9]{{1,6}}){medium_mark}") if medium_mark else None
        self._by_text = {special.text: special for special in specials if _can_be_told(special)}
        self._first_characters = sorted({first for text in self._by_text for first in _any_case(text[0])})
        self._specials = _pattern(self._by_text)
        user_defined = _alternatives(text for text, special in self._by_text.items() if special.kind == "user_defined")
        self._user_defined = re.compile(f"(?={user_defined}).", re.DOTALL) if user_defined else None

    def mark(self, text: str) -> str:
        """A client's string as the template may see it."""
        text = text.replace(self._mark, "")
        n_blank = len(text) - len(text.lstrip())
        blank, text = text[:n_blank], text[n_blank:]
        for character in self._first_characters:
            text = text.replace(character, character + self._mark)
        return blank + self._mark + text if text else blank

    def segments(self, rendered: str) -> tuple[Segment, ...]:
        """What the template wrote around marked strings, as tokens and runs of text. No run is empty."""
        return tuple(self._cut(rendered))

    def unmarked(self, rendered: str) -> str:
        """What the template wrote, as if nothing had been marked."""
        text = rendered.replace(self._mark, "")
        return text.replace(self._breakpoint_mark, "") if self._breakpoint_mark else text

    def _cut(self, rendered: str) -> Iterator[Segment]:
        start, strips_left = 0, False
        for found in self._specials.finditer(rendered) if self._specials else ():
            special = self._by_text[found.group()]
            run = self._run(rendered[start : found.start()], strips_left)
            yield from self._plain(run.rstrip(_STRIPPED) if special.strips_left else run)
            yield ControlToken(special.id)
            start, strips_left = found.end(), special.strips_right
        yield from self._plain(self._run(rendered[start:], strips_left))

    def _run(self, run: str, strips_left: bool) -> str:
        run = run.replace(self._mark, "")
        return run.lstrip(_STRIPPED) if strips_left else run

    def _plain(self, run: str) -> Iterator[PlainText | MediumSlot]:
        parts = self._media.split(run) if self._media else [run]
        for i, part in enumerate(parts):
            if i % 2 == 0:
                yield from self._text(part)
            else:
                is_breakpoint = self._breakpoint_mark is not None and parts[i + 1].startswith(self._breakpoint_mark)
                yield MediumSlot(int(part), is_breakpoint)

    def _text(self, run: str) -> Iterator[PlainText]:
        parts = run.split(self._breakpoint_mark) if self._breakpoint_mark else [run]
        breakpoints = list(itertools.accumulate(map(len, parts[:-1])))
        text, start = "".join(parts), 0
        for end in self._ends(text):
            inside = tuple(point - start for point in breakpoints if start < point <= end)
            yield PlainText(text[start:end], inside)
            start = end

    def _ends(self, text: str) -> Iterator[int]:
        """Where to cut, the end included."""
        end = 0
        for first in self._user_defined.finditer(text) if self._user_defined else ():
            yield (end := first.end())
        if end < len(text):
            yield len(text)


def _can_be_told(special: SpecialToken) -> bool:
    return len(special.text) > 1 and special.text.strip(_BLANK) != ""


def _any_case(character: str) -> set[str]:
    return {character, character.lower(), character.upper()}


def _pattern(literals: Iterable[str]) -> re.Pattern[str] | None:
    alternatives = _alternatives(literals)
    return re.compile(alternatives) if alternatives else None


def _alternatives(literals: Iterable[str]) -> str:
    """A regular expression for any of `literals`, the longest that fits, in the shape of a trie.

    The time to match does not grow with the number of literals: some vocabularies have thousands.
    """
    branches: dict[str, list[str]] = {}
    for literal in filter(None, literals):
        branches.setdefault(literal[0], []).append(literal)
    return "|".join(_branch(branch) for branch in branches.values()).join(("(?:", ")")) if branches else ""


def _branch(literals: list[str]) -> str:
    first, last = min(literals), max(literals)
    n_common = next((i for i, pair in enumerate(zip(first, last, strict=False)) if len(set(pair)) > 1), len(first))
    rests = [literal[n_common:] for literal in literals]
    return re.escape(first[:n_common]) + _alternatives(rests) + ("?" if "" in rests and any(rests) else "")
