"""What readers of files write into: text under headings, within limits."""

from __future__ import annotations


class Refusal(Exception):
    """The payload cannot be taken; the text is a sentence for the client."""


class Pages:
    """`begin` a page where the format has any, `add` its text; then `text`."""

    def __init__(self, *, max_pages: int, max_characters: int) -> None:
        self._max_pages = max_pages
        self._max_characters = max_characters
        self._n_pages = self._n_characters = 0
        self._texts: list[str] = []

    def expect(self, n_pages: int) -> None:
        """Raises `Refusal` where there are more than are read: better before the first than after the last."""
        if n_pages > self._max_pages:
            raise Refusal(f"It has {n_pages} pages, of which at most {self._max_pages} are read.")

    def begin(self, heading: str) -> None:
        """A page, slide or sheet. Raises `Refusal`."""
        self._n_pages += 1
        self.expect(self._n_pages)
        self.add(f"\n[{heading}]\n" if self._texts else f"[{heading}]\n")

    def add(self, text: str) -> None:
        """Raises `Refusal`."""
        self._n_characters += len(text)
        if self._n_characters > self._max_characters:
            raise Refusal(f"It has more than {self._max_characters} characters of text.")
        self._texts.append(text)

    def text(self) -> str:
        return "".join(self._texts)
