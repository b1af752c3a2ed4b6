"""A conversation as chat templates know it, and where system text goes when a template has no place for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

Role = Literal["system", "user", "assistant"]

SystemPlace = Literal["anywhere", "first", "none"]
"""Where a template takes system turns: at any place, one as the first turn, or not at all."""


class Turn(msgspec.Struct, frozen=True, array_like=True):
    """One message as a template sees it."""

    role: Role
    content: str


def place_system_text(turns: Sequence[Turn], place: SystemPlace) -> list[Turn]:
    """`turns` with system turns only where the template takes them; their text elsewhere keeps its order.

    It goes in front of the next user turn: for a template without a system role that is the first one (contract 13.1).
    After the last user turn it goes behind that one, or where an answer stands between them, into a user turn of its own.
    """
    if place == "anywhere":
        return list(turns)
    n_leading = next((i for i, turn in enumerate(turns) if turn.role != "system"), len(turns))
    placed: list[Turn] = []
    if place == "first" and n_leading:
        placed.append(Turn("system", _joined(*(turn.content for turn in turns[:n_leading]))))
        turns = turns[n_leading:]
    return placed + _with_system_text_in_user_turns(turns)


def _with_system_text_in_user_turns(turns: Sequence[Turn]) -> list[Turn]:
    placed: list[Turn] = []
    pending: list[str] = []
    for turn in turns:
        if turn.role == "system":
            pending.append(turn.content)
        elif turn.role == "user":
            placed.append(Turn("user", _joined(*pending, turn.content)))
            pending = []
        else:
            placed.append(turn)
    if pending and placed and placed[-1].role == "user":
        placed[-1] = Turn("user", _joined(placed[-1].content, *pending))
    elif pending:
        placed.append(Turn("user", _joined(*pending)))
    return placed


def _joined(*texts: str) -> str:
    return "\n\n".join(filter(None, texts))
