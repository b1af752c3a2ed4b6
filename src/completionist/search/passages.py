"""A document → passages, the pieces that are found and put into prompts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

_PASSAGE_CHARACTERS = 800
_TITLE_CHARACTERS = 120
_PARAGRAPH_END = re.compile(r"\n\s*\n")
_HEADING = re.compile(r"#{1,6}\s+(\S.*)")


def passages(text: str) -> Iterator[str]:
    """Whole paragraphs as far as they fit together; longer ones are cut between lines or words."""
    passage = ""
    for piece in _pieces(text):
        joined = f"{passage}\n\n{piece}" if passage else piece
        if len(joined) > _PASSAGE_CHARACTERS:
            yield passage
            joined = piece
        passage = joined
    if passage:
        yield passage


def title_of(text: str, path: str) -> str:
    """What a page calls itself in its first line, where it is Markdown or HTML; else the name of its file."""
    name = PurePosixPath(path)
    first = text.lstrip().partition("\n")[0].strip()
    heading = _HEADING.fullmatch(first)
    if heading:
        first = heading[1].rstrip("# ")
    is_title = heading or name.suffix.lower() in (".html", ".htm", ".xhtml")
    return first if is_title and 0 < len(first) <= _TITLE_CHARACTERS else name.name


def _pieces(text: str) -> Iterator[str]:
    """Paragraphs, none longer than a passage."""
    for paragraph in _PARAGRAPH_END.split(text):
        rest = paragraph.strip()
        while len(rest) > _PASSAGE_CHARACTERS:
            end = _end(rest)
            yield rest[:end].rstrip()
            rest = rest[end:].lstrip()
        if rest:
            yield rest


def _end(text: str) -> int:
    """Where to cut: behind the last line, sentence or word that fits and leaves no stub."""
    for separator in ("\n", ". ", " "):
        end = text.rfind(separator, _PASSAGE_CHARACTERS // 2, _PASSAGE_CHARACTERS - len(separator))
        if end > 0:
            return end + len(separator)
    return _PASSAGE_CHARACTERS
