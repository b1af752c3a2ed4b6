"""Spans and moments as commands take them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import ClassVar

from completionist import ids
from completionist.errors import OperatorError

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class NoTime(OperatorError):
    """A span or a moment that cannot be read."""

    exit_code: ClassVar[int] = 2


def span_s(text: str) -> int:
    """`90s`, `15m`, `12h`, `30d` in seconds. Raises `NoTime`."""
    match = re.fullmatch(r"([0-9]{1,6})([smhd])", text)
    if match is None:
        raise NoTime(f"'{text}' is no span of time: write 90s, 15m, 12h or 30d")
    return int(match[1]) * _UNITS_S[match[2]]


def future_s(text: str) -> int:
    """A span from now on, or a date (its beginning, UTC), in Unix seconds. Raises `NoTime`, also for what is past."""
    if re.fullmatch(r"[0-9]+[a-z]", text):
        return ids.now_s() + span_s(text)
    moment_s = day_s(text)
    if moment_s <= ids.now_s():
        raise NoTime(f"{text} is past")
    return moment_s


def day_s(text: str) -> int:
    """`2027-01-31`, its beginning in UTC, in Unix seconds. Raises `NoTime`."""
    try:
        return int(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp())
    except ValueError:
        raise NoTime(f"'{text}' is no date: write 2027-01-31") from None
