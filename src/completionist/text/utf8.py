"""Bytes of tokens → whole characters. A token may end inside a character; no delta may (contract 6.4)."""

from __future__ import annotations

import codecs

_new_decoder = codecs.getincrementaldecoder("utf-8")


class Characters:
    """Feed bytes as they come, take characters as soon as they are certain; then `finish`.

    What can never become a character is U+FFFD. However the bytes are cut, the whole is `bytes.decode("utf-8", "replace")`.
    """

    def __init__(self) -> None:
        self._decoder = _new_decoder("replace")

    def feed(self, piece: bytes) -> str:
        """The characters that `piece` completes; at most three bytes are held back."""
        return self._decoder.decode(piece)

    def finish(self) -> str:
        """What is left: empty, or U+FFFD for a character that was never completed."""
        return self._decoder.decode(b"", final=True)
