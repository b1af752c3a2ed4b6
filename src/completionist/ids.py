"""Identifiers and the clock: the only source of randomness and time outside the engine worker.

Id forms are those of the contract, section 5.5.
"""

from __future__ import annotations

import secrets
import string
import time

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase


def _base62(n_characters: int) -> str:
    return "".join(secrets.choice(_BASE62) for _ in range(n_characters))


def completion_id() -> str:
    """`chatcmpl-` + 29 base62 characters."""
    return "chatcmpl-" + _base62(29)


def call_id() -> str:
    """`call_` + 24 base62 characters."""
    return "call_" + _base62(24)


def request_id() -> str:
    """`req_` + 32 hex digits."""
    return "req_" + secrets.token_hex(16)


def padding(n_characters: int) -> bytes:
    """Alphanumeric filler of 0 … 16 characters."""
    return secrets.token_hex(8)[:n_characters].encode()


def random_seed() -> int:
    """A sampling seed for a request that named none; 0 … 2**63 - 1."""
    return secrets.randbits(63)


def now_s() -> int:
    """Whole Unix seconds, as every `created` on the wire."""
    return int(time.time())
