"""Plain text of any sort, code and JSON too."""

from __future__ import annotations

import codecs

from completionist.media.pages import Pages, Refusal

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_text(data: bytes, pages: Pages) -> None:
    """Raises `Refusal`."""
    pages.add(decoded(data))


def decoded(data: bytes) -> str:
    """UTF-8, UTF-16 with its mark, else Windows-1252, which old files are in. Raises `Refusal` for what is no text."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _with_newlines(data.decode(encoding, errors="replace"))
    if b"\0" in data:
        raise Refusal("It is no text.")
    try:
        return _with_newlines(data.decode())
    except UnicodeDecodeError:
        return _with_newlines(data.decode("cp1252", errors="replace"))


def _with_newlines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")
