"""Values as commands write them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import msgspec

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def megabytes(n_bytes: int) -> str:
    """Decimal megabytes, as disks and downloads are sold."""
    return f"{n_bytes / 1e6:,.1f} MB"


def json_text(value: object) -> str:
    """Indented JSON of structs, lists and paths."""
    return msgspec.json.format(msgspec.json.encode(value, enc_hook=str)).decode()


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns as wide as what stands in them; what would move the terminal's cursor is escaped."""
    lines = [headings, *([printable(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(cell.ljust(n) for cell, n in zip(line, widths, strict=True)).rstrip() for line in lines)


def printable(text: str) -> str:
    """Names that clients chose, for a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def harmless(text: str) -> str:
    """What a model says, for a terminal: lines, tabs and all letters as they are, and what could command it escaped."""
    return _CONTROLS.sub(lambda control: control[0].encode("unicode_escape").decode(), text)


def moment(unix_s: int | None) -> str:
    """UTC date and minute of a moment; `-` for none."""
    return "-" if unix_s is None else datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M")
