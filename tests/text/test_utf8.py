"""Bytes to characters, however they are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from completionist.text.utf8 import Characters

WHOLE = "Straße, 山, 🏔️!".encode()
BROKEN = b"a\xff\xe5\xb1b\xf0\x9f\x8f\xed\xa0\x80\xc0\xaf\xf4\x90\x80\x80c\xe5\xb1"
"""Stray bytes, characters cut short, a surrogate, an overlong form, one beyond Unicode, an open end."""


def read(pieces: list[bytes]) -> list[str]:
    characters = Characters()
    return [*(characters.feed(piece) for piece in pieces), characters.finish()]


@pytest.mark.parametrize("data", [WHOLE, BROKEN])
def test_every_cut_gives_what_decoding_the_whole_gives(data: bytes) -> None:
    expected = data.decode("utf-8", "replace")
    for first in range(len(data) + 1):
        for second in range(first, len(data) + 1):
            assert "".join(read([data[:first], data[first:second], data[second:]])) == expected


@given(st.lists(st.binary(max_size=6), max_size=12))
def test_any_bytes_in_any_pieces(pieces: list[bytes]) -> None:
    assert "".join(read(pieces)) == b"".join(pieces).decode("utf-8", "replace")


def test_characters_come_whole_and_at_once() -> None:
    assert read([bytes([byte]) for byte in "a山🏔".encode()]) == ["a", "", "", "山", "", "", "", "🏔", ""]


def test_a_character_that_never_ends_is_a_replacement_character() -> None:
    assert read([b"ok \xf0\x9f\x8f"]) == ["ok ", "\ufffd"]
