"""The query string of a list (contract, section 1.2). What it does not know it ignores (section 0)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import unquote_plus

from completionist.errors import InvalidRequest, InvalidType, InvalidValue, OutOfRange, TooManyProperties
from completionist.store.base import Filters, Order, Page

MAX_METADATA_FILTERS = 16
_MAX_PARAMETERS = 200
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_METADATA = re.compile(r"metadata\[(.*)\]", re.DOTALL)
_PAIR = re.compile(r"(metadata(?:\[|%5B).*?(?:\]|%5D)|[^=]*)(?:=(.*))?", re.DOTALL | re.IGNORECASE)
"""A metadata key may hold an equals sign as it is."""
_ORDERS: dict[str, Order] = {"asc": "asc", "desc": "desc"}

Pairs = Sequence[tuple[str, str]]
"""Names and values, in the order in which they came."""


def pairs(query: bytes) -> Pairs:
    """Form-encoded UTF-8. Raises `InvalidRequest`."""
    fields = [field for field in query.decode("latin-1").split("&") if field]
    if len(fields) > _MAX_PARAMETERS:
        raise InvalidRequest("The query string has too many parameters.")
    return [
        (unquote_plus(match[1]), unquote_plus(match[2] or "")) for field in fields if (match := _PAIR.fullmatch(field))
    ]


def read_page(sent: Pairs, *, default_limit: int, max_limit: int, default_order: Order) -> Page:
    """The last of several wins. Raises `InvalidType`, `OutOfRange`, `InvalidValue`."""
    last = dict(sent)
    limit = read_limit(last["limit"], max_limit) if "limit" in last else default_limit
    order = last.get("order", default_order)
    if order not in _ORDERS:
        raise InvalidValue("order", order, tuple(_ORDERS))
    return Page(after=last.get("after"), limit=limit, order=_ORDERS[order])


def read_filters(sent: Pairs) -> Filters:
    """Raises `TooManyProperties`."""
    metadata = tuple((match[1], value) for name, value in sent if (match := _METADATA.fullmatch(name)))
    if len(metadata) > MAX_METADATA_FILTERS:
        raise TooManyProperties("metadata", maximum=MAX_METADATA_FILTERS, count=len(metadata))
    return Filters(model=dict(sent).get("model"), metadata=metadata)


def read_limit(text: str, maximum: int) -> int:
    """Raises `InvalidType`, `OutOfRange`."""
    if _INTEGER.fullmatch(text) is None:
        raise InvalidType("limit", expected="an integer", got="a string")
    limit = int(text)
    if limit < 1:
        raise OutOfRange("limit", limit, minimum=1, decimal=False)
    if limit > maximum:
        raise OutOfRange("limit", limit, maximum=maximum, decimal=False)
    return limit
