"""A page of a list as it goes out (contract, section 1.2)."""

from __future__ import annotations

from typing import Literal

import msgspec

from completionist.store.base import Item, Slice


class ListPage(msgspec.Struct, kw_only=True):
    object: Literal["list"] = "list"
    data: list[msgspec.Raw]
    first_id: str | None
    last_id: str | None
    has_more: bool


def encode_list(found: Slice[Item]) -> bytes:
    items = found.items
    return msgspec.json.encode(
        ListPage(
            data=[msgspec.Raw(item.json) for item in items],
            first_id=items[0].id if items else None,
            last_id=items[-1].id if items else None,
            has_more=found.has_more,
        )
    )
