"""Text → text without the blanks at its end, for what may or may not follow.

A model puts a line end between its words and a call. It belongs to the form of the call, so it is shown only once more text
has come, or when the text is over.
"""

from __future__ import annotations


class TrailingBlanks:
    """Feed text, take all of it but the blanks at the end; then `finish` for these, or `drop` them and go on."""

    def __init__(self) -> None:
        self._held: list[str] = []

    def feed(self, text: str) -> str:
        kept = text.rstrip()
        blanks = text[len(kept) :]
        if kept:
            kept = "".join([*self._held, kept])
            self._held.clear()
        if blanks:
            self._held.append(blanks)
        return kept

    def drop(self) -> int:
        """How many characters that took away."""
        return len(self.finish())

    def finish(self) -> str:
        held = "".join(self._held)
        self._held.clear()
        return held
