"""Logprobs stay with the text that is shown, however tokens cut it (contract 5.3)."""

from __future__ import annotations

import pytest

from completionist.chat.deltas import Text
from completionist.engine.base import Accepted, End, Evaluated, Likelihood, Token, TokenEvent
from completionist.engine.mailbox import Mailbox
from completionist.local.assemble import Assembly
from tests.local.reading import reading

BEGIN: list[TokenEvent] = [Accepted(prompt_tokens=1), Evaluated(cached_tokens=0, cache_write_tokens=0)]


def token(piece: bytes, *alternatives: Likelihood) -> Token:
    return Token(0, 5, piece, Likelihood(piece, is_control=False, logprob=-0.5), alternatives)


def texts(*pieces: bytes, stop: tuple[str, ...] = ()) -> list[tuple[str, list[str]]]:
    """Every `Text` with the tokens listed beside it."""
    assembly = Assembly(1, reading(*stop), Mailbox(n_choices=1, stop=lambda _: None, cancel=lambda: None))
    events = [*BEGIN, *(token(piece) for piece in pieces), Token(0, 2, b""), End(0, "end_of_turn")]
    deltas = [delta for event in events for delta in assembly.feed([event])]
    return [(delta.text, [one.token for one in delta.logprobs]) for delta in deltas if isinstance(delta, Text)]


def test_every_text_has_the_tokens_it_was_made_of() -> None:
    assert texts(b"High", b" water") == [("High", ["High"]), (" water", [" water"])]


def test_tokens_of_a_split_character_come_with_the_character() -> None:
    cut = "é!".encode()
    assert texts(cut[:1], cut[1:]) == [("é!", ["\\xc3", "\\xa9!"])]


def test_a_character_that_is_never_completed_is_listed_with_its_replacement() -> None:
    assert texts(b"a", b"\xe2\x82") == [("a", ["a"]), ("\ufffd", ["\\xe2\\x82"])]


def test_tokens_of_a_trimmed_stop_string_are_not_listed() -> None:
    assert texts(b"one", b" st", b"op", b" two", stop=("stop",)) == [("one", ["one"]), (" ", [" st"])]


def test_held_back_text_is_listed_when_it_is_shown_after_all() -> None:
    assert texts(b"a", b"st", b"art", stop=("stop",)) == [("a", ["a"]), ("start", ["st", "art"])]


@pytest.mark.parametrize(("is_control", "spelled"), [(False, (60, 47)), (True, None)])
def test_a_control_token_has_no_bytes(*, is_control: bool, spelled: tuple[int, ...] | None) -> None:
    assembly = Assembly(1, reading(), Mailbox(n_choices=1, stop=lambda _: None, cancel=lambda: None))
    events = [*BEGIN, token(b"x", Likelihood(b"</", is_control=is_control, logprob=-2.0))]
    (text,) = [delta for delta in assembly.feed(events) if isinstance(delta, Text)]
    (entry,) = text.logprobs
    assert (entry.token, entry.logprob, entry.bytes) == ("x", -0.5, (120,))
    assert [(one.token, one.logprob, one.bytes) for one in entry.top_logprobs] == [("</", -2.0, spelled)]
