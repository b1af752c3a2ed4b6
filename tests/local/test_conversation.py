"""Where system text goes."""

from __future__ import annotations

import pytest

from completionist.dialects.history import Turn
from completionist.local.conversation import SystemPlace, place_system_text
from tests.local.templates import Role, said

ROLES: dict[str, Role] = {"s": "system", "u": "user", "a": "assistant"}


def turns(*spelt: str) -> list[Turn]:
    """`"u:Hello"` is a user turn."""
    return [said(ROLES[role], text) for role, text in (turn.split(":") for turn in spelt)]


@pytest.mark.parametrize(
    ("place", "sent", "placed"),
    [
        ("anywhere", ["s:A", "u:1", "s:B"], ["s:A", "u:1", "s:B"]),
        ("first", ["u:1", "a:2", "u:3"], ["u:1", "a:2", "u:3"]),
        ("first", ["s:A", "s:B", "u:1"], ["s:A\n\nB", "u:1"]),
        ("first", ["s:A", "u:1", "a:2", "s:B", "u:3"], ["s:A", "u:1", "a:2", "u:B\n\n3"]),
        ("first", ["s:A"], ["s:A"]),
        ("none", ["s:A", "u:1"], ["u:A\n\n1"]),
        ("none", ["s:A", "s:B", "u:1", "a:2"], ["u:A\n\nB\n\n1", "a:2"]),
        ("none", ["s:A", "a:1", "u:2"], ["a:1", "u:A\n\n2"]),
        ("none", ["u:1", "s:A"], ["u:1\n\nA"]),
        ("none", ["u:1", "a:2", "s:A"], ["u:1", "a:2", "u:A"]),
        ("none", ["s:A"], ["u:A"]),
        ("none", ["s:", "u:1"], ["u:1"]),
        ("none", ["s:A", "u:"], ["u:A"]),
    ],
)
def test_system_text_stands_where_the_template_takes_it(place: SystemPlace, sent: list[str], placed: list[str]) -> None:
    assert place_system_text(turns(*sent), place) == turns(*placed)
