"""Values as commands write them."""

from __future__ import annotations

import msgspec


def megabytes(n_bytes: int) -> str:
    """Decimal megabytes, as disks and downloads are sold."""
    return f"{n_bytes / 1e6:,.1f} MB"


def json_text(value: object) -> str:
    """Indented JSON of structs, lists and paths."""
    return msgspec.json.format(msgspec.json.encode(value, enc_hook=str)).decode()
