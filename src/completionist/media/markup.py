"""HTML → what a reader of the page would see."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from completionist.media.pages import Pages
from completionist.media.plain import decoded

_UNSEEN = frozenset({"script", "style", "template", "noscript", "svg", "math"})
_BLOCK_NAMES = (
    "address article aside blockquote body br dd details div dl dt fieldset figcaption figure footer form h1 h2 h3 h4 h5 h6 "
    "head header hr html legend li main nav ol option p pre section summary table tbody tfoot thead title tr ul"
)
_BLOCKS = frozenset(_BLOCK_NAMES.split())
_BLANK_CHARACTERS = " \t\n\r\f"
_BLANKS = re.compile(f"[{_BLANK_CHARACTERS}]+")
_SLICE_CHARACTERS = 2**16


def read_html(data: bytes, pages: Pages) -> None:
    """Raises `Refusal`."""
    parser, text = _Seen(pages), decoded(data)
    for start in range(0, len(text), _SLICE_CHARACTERS):
        parser.feed(text[start : start + _SLICE_CHARACTERS])
    parser.close()


class _Seen(HTMLParser):
    """Blocks are lines, cells have tabs between them; blanks are one blank, but in `pre`."""

    def __init__(self, pages: Pages) -> None:
        super().__init__()
        self._pages = pages
        self._unseen: list[str] = []
        self._n_pre = 0
        self._last = "\n"
        """The last character: behind a blank no other one is wanted, nor a second line end."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - the library's signature
        if tag in _UNSEEN:
            self._unseen.append(tag)
        self._n_pre += tag == "pre"
        self._break(tag)
        if tag in ("td", "th") and self._last not in "\n\t":
            self._add("\t")
        if tag == "li":
            self._add("- ")

    def handle_endtag(self, tag: str) -> None:
        if self._unseen and tag == self._unseen[-1]:
            self._unseen.pop()
        self._n_pre = max(0, self._n_pre - (tag == "pre"))
        self._break(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - likewise
        self._break(tag)

    def handle_data(self, data: str) -> None:
        text = data if self._n_pre else _BLANKS.sub(" ", data)
        if self._last in _BLANK_CHARACTERS and not self._n_pre:
            text = text.lstrip(_BLANK_CHARACTERS)
        if text:
            self._add(text)

    def _break(self, tag: str) -> None:
        if tag in _BLOCKS and self._last != "\n":
            self._add("\n")

    def _add(self, text: str) -> None:
        if not self._unseen:
            self._pages.add(text)
            self._last = text[-1]
