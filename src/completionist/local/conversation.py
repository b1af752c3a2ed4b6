"""Turns of a conversation where a template takes them: names of participants, and system text out of its place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from completionist.dialects.history import Turn

SystemPlace = Literal["anywhere", "first", "none"]
"""Where a template takes system turns: at any place, one as the first turn, or not at all."""


def with_names_in_text(turns: Sequence[Turn]) -> list[Turn]:
    """For a template that has no place for a participant's name: `{name}: ` before the text (contract 13.4)."""
    return [_named_in_text(turn) if turn.role != "tool" else turn for turn in turns]


def with_system_text(turns: Sequence[Turn], text: str) -> list[Turn]:
    """`text` behind what the first system turn says, or as one."""
    if turns and turns[0].role == "system":
        first = msgspec.structs.replace(turns[0], content=_joined(turns[0].content, text))
        return [first, *turns[1:]]
    return [Turn(role="system", content=text), *turns]


def place_system_text(turns: Sequence[Turn], place: SystemPlace) -> list[Turn]:
    """`turns` with system turns only where the template takes them; their text elsewhere keeps its order.

    It goes in front of the next user turn: for a template without a system role that is the first one (contract 13.1).
    After the last user turn it goes behind that one, or where an answer stands between them, into a user turn of its own.
    """
    if place == "anywhere":
        return list(turns)
    n_leading = next((i for i, turn in enumerate(turns) if turn.role != "system"), len(turns))
    placed: list[Turn] = []
    if place == "first" and n_leading == 1:
        placed.append(turns[0])
    elif place == "first" and n_leading:
        placed.append(Turn(role="system", content=_joined(*map(_said, turns[:n_leading]))))
    return placed + _with_system_text_in_user_turns(turns[n_leading:] if place == "first" else turns)


def _with_system_text_in_user_turns(turns: Sequence[Turn]) -> list[Turn]:
    placed: list[Turn] = []
    pending: list[str] = []
    for turn in turns:
        if turn.role == "system":
            pending.append(_said(turn))
        elif turn.role == "user" and pending:
            placed.append(msgspec.structs.replace(turn, content=_joined(*pending, turn.content)))
            pending = []
        else:
            placed.append(turn)
    if pending and placed and placed[-1].role == "user":
        placed[-1] = msgspec.structs.replace(placed[-1], content=_joined(placed[-1].content, *pending))
    elif pending:
        placed.append(Turn(role="user", content=_joined(*pending)))
    return placed


def _named_in_text(turn: Turn) -> Turn:
    return msgspec.structs.replace(turn, content=_said(turn), name=None) if turn.name and turn.content else turn


def _said(turn: Turn) -> str:
    return f"{turn.name}: {turn.content}" if turn.name and turn.content else turn.content or ""


def _joined(*texts: str | None) -> str:
    return "\n\n".join(text for text in texts if text)
