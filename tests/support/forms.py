"""Multipart forms by hand, sound and otherwise."""

from __future__ import annotations

BOUNDARY = "tide"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"


def part(name: str, value: bytes, *headers: str, filename: str | None = None) -> bytes:
    """One part, from its boundary to the end of its value."""
    disposition = f'form-data; name="{name}"' + (f'; filename="{filename}"' if filename is not None else "")
    head = "\r\n".join([f"--{BOUNDARY}", f"Content-Disposition: {disposition}", *headers])
    return head.encode() + b"\r\n\r\n" + value + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


PURPOSE = part("purpose", b"user_data")
FILE = part("file", b"High water", "Content-Type: text/plain", filename="tides.txt")
