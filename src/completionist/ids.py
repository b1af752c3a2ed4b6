"""Identifiers and the clock: the only source of randomness and time outside the engine worker.

Id forms are those of the contract, section 5.5.
"""

from __future__ import annotations

import calendar
import re
import secrets
import string
import time

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase


def _base62(n_characters: int) -> str:
    number = secrets.randbelow(62**n_characters)  # one read of the system's randomness, not one a character
    digits = []
    for _ in range(n_characters):
        number, digit = divmod(number, 62)
        digits.append(_BASE62[digit])
    return "".join(digits)


def completion_id() -> str:
    """`chatcmpl-` + 29 base62 characters."""
    return "chatcmpl-" + _base62(29)


def is_completion_id(text: str) -> bool:
    """Whether `text` may be one; another server's, which were imported, may be longer or shorter."""
    return re.fullmatch(r"chatcmpl-[0-9A-Za-z]{1,64}", text) is not None


def call_id() -> str:
    """`call_` + 24 base62 characters."""
    return "call_" + _base62(24)


def speech_id() -> str:
    """`audio_` + 32 hex digits."""
    return "audio_" + secrets.token_hex(16)


def is_speech_id(text: str) -> bool:
    """Whether `text` has the form of one, so that nothing else ever reaches a database."""
    return re.fullmatch(r"audio_[0-9a-f]{32}", text) is not None


def voice_id() -> str:
    """`voice_` + 32 hex digits."""
    return "voice_" + secrets.token_hex(16)


def is_voice_id(text: str) -> bool:
    """Whether `text` has the form of one, so that nothing else ever reaches a database."""
    return re.fullmatch(r"voice_[0-9a-f]{32}", text) is not None


def file_id() -> str:
    """`file-` + 22 base62 characters (contract, section 1.6)."""
    return "file-" + _base62(22)


def is_file_id(text: str) -> bool:
    """Whether `text` has the form of one, so that nothing else ever becomes a path or reaches a database."""
    return re.fullmatch(r"file-[0-9A-Za-z]{22}", text) is not None


def api_key() -> str:
    """`sk-` + 48 base62 characters: more than anybody could guess, so that a plain digest of it may be kept."""
    return "sk-" + _base62(48)


def api_key_id() -> str:
    """`key_` + 16 base62 characters."""
    return "key_" + _base62(16)


def database_name() -> str:
    """32 hex digits, by which a database is known for ever."""
    return secrets.token_hex(16)


def request_id() -> str:
    """`req_` + 32 hex digits."""
    return "req_" + secrets.token_hex(16)


def filler(n_characters: int) -> bytes:
    """Alphanumeric characters that mean nothing."""
    return _base62(n_characters).encode()


def random_seed() -> int:
    """A sampling seed for a request that named none; 0 … 2**63 - 1."""
    return secrets.randbits(63)


def private_mark() -> str:
    """A character of Unicode's supplementary private use areas, which no text has a reason to contain."""
    return chr(0xF0000 + secrets.randbelow(0xFFFE))


def breakpoint_mark() -> str:
    """Likewise, and never the same one."""
    return chr(0x100000 + secrets.randbelow(0xFFFE))


def medium_mark() -> str:
    """A character of Unicode's basic private use area: neither of the others."""
    return chr(0xE000 + secrets.randbelow(0x1900))


def now_s() -> int:
    """Whole Unix seconds, as every `created` on the wire."""
    return int(time.time())


def month_s() -> int:
    """When this calendar month began in UTC, in Unix seconds."""
    now = time.gmtime(now_s())
    return calendar.timegm((now.tm_year, now.tm_mon, 1, 0, 0, 0))


def local_time(form: str) -> str:
    """Now, as `strftime` writes it."""
    return time.strftime(form, time.localtime(now_s()))
