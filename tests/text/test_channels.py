"""Thinking told from the answer, and arguments from what follows, at every cut."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from completionist.text.arguments import Arguments, JSONString, JSONValue, RawText
from completionist.text.channels import (
    Channels,
    Content,
    Finder,
    Span,
    Thinking,
    Thought,
    as_control,
    split_controls,
    without_controls,
)

THINK = Thinking(opening="<think>", closing="</think>")


def channels(pieces: Sequence[str], *, is_open: bool = False, thinking: Thinking | None = THINK) -> tuple[str, str]:
    machine = Channels(thinking, is_open=is_open)
    found: list[Span] = [span for piece in pieces for span in machine.feed(piece)] + machine.finish()
    return (
        "".join(span.text for span in found if isinstance(span, Thought)),
        "".join(span.text for span in found if isinstance(span, Content)),
    )


CHANNELS = [
    ("<think>a</think>\n\nb", False, ("a", "b")),
    ("a</think> b", True, ("a", "b")),
    (" \n<think>a", False, ("a", "")),
    ("b <think>c</think>", False, ("", "b <think>c</think>")),
    ("<think>a</think>b</think><think>c", False, ("a", "b</think><think>c")),
    ("<think>a</thin</think>", False, ("a</thin", "")),
    ("<thin", False, ("", "<thin")),
    ("", True, ("", "")),
    (" " * 100 + "<think>", False, ("", " " * 100 + "<think>")),
]


@pytest.mark.parametrize(("text", "is_open", "expected"), CHANNELS)
def test_thinking_is_told_from_the_answer_at_every_cut(text: str, is_open: bool, expected: tuple[str, str]) -> None:
    for split in range(len(text) + 1):
        assert channels([text[:split], text[split:]], is_open=is_open) == expected
    assert channels(list(text), is_open=is_open) == expected


def test_a_model_that_does_not_think_only_answers() -> None:
    assert channels(["<think>a</think>b"], thinking=None) == ("", "<think>a</think>b")


def test_controls_go_by_another_way_than_their_spelling() -> None:
    marker = as_control("<end>")
    assert split_controls(f"a{marker}<end>") == [("a", False), ("<end>", True), ("<end>", False)]
    assert without_controls(Content(f"a{marker}b", 10)) == [Content("a", 10), Content("b", 18)]


@given(st.text("ab<>", max_size=30), st.randoms(use_true_random=False))
def test_a_finder_finds_the_first_marker_wherever_the_cuts_are(text: str, random: Random) -> None:
    finder = Finder(["<a>", "<ab>", "bb"])
    before, found, rest = "", None, text
    while rest and found is None:
        n = random.randint(1, 4)
        given, found = finder.feed(rest[:n])
        before, rest = before + given, rest[n:]
    hits = [(text.find(marker), marker) for marker in ("<a>", "<ab>", "bb") if marker in text]
    assert found == (min(hits)[1] if hits else None)
    expected = text[: min(hits)[0]] if hits else text
    assert before + ("" if found else finder.finish()) == expected
    if found:
        assert finder.rest + rest == text[min(hits)[0] + len(found) :]


def read(machine: Arguments, text: str, random: Random) -> tuple[str, str | None]:
    """What belongs to the arguments, and what came after; None where their end was not seen."""
    given = ""
    while text:
        n = random.randint(1, 3)
        given, text = given + machine.feed(text[:n]), text[n:]
        if machine.is_done:
            return given, machine.rest + text
    return given + machine.finish(), None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(
    VALUES, st.booleans(), st.sampled_from([",", "}", "]", "\n</tool_call>", " x"]), st.randoms(use_true_random=False)
)
def test_a_json_value_ends_where_it_ends(value: object, is_ascii: bool, after: str, random: Random) -> None:
    text = json.dumps(value, ensure_ascii=is_ascii)
    assert read(JSONValue(), text + after, random) == (text, after)


@given(VALUES, st.randoms(use_true_random=False))
def test_a_json_value_that_is_cut_off_has_no_end(value: object, random: Random) -> None:
    text = json.dumps([value])
    for end in range(len(text)):
        assert read(JSONValue(), text[:end], random) == (text[:end], None)


@given(st.text(), st.booleans(), st.randoms(use_true_random=False))
def test_a_json_string_is_decoded(text: str, is_ascii: bool, random: Random) -> None:
    written = json.dumps(text, ensure_ascii=is_ascii)[1:]
    assert read(JSONString(), written + "}}", random) == (text, "}}")


@pytest.mark.parametrize(
    ("written", "expected"),
    [(r"\ud800", "\ufffd"), (r"\ud800x", "\ufffdx"), (r"\udc00", "\ufffd"), (r"\ud800\ud83d\ude00", "\ufffd\U0001f600")],
)  # fmt: skip
def test_halves_of_pairs_are_no_characters(written: str, expected: str) -> None:
    for seed in range(20):
        assert read(JSONString(), written + '"', Random(seed)) == (expected, "")  # noqa: S311 - repeatable cuts


def test_a_string_that_is_cut_off_in_an_escape_says_what_came_before() -> None:
    for written in ("ab\\", "ab\\u00", "ab\\u"):
        assert read(JSONString(), written, Random(0)) == ("ab", None)  # noqa: S311 - repeatable cuts


@given(
    st.text('"}]\n,x', max_size=20),
    st.sampled_from(["", as_control("<|end|>"), "]" + as_control("<|end|>"), ', {"name": "dial']),
    st.randoms(use_true_random=False),
)
def test_raw_text_may_hold_what_closes_it(text: str, after: str, random: Random) -> None:
    """Only what follows tells the end."""
    machine = RawText('"}', more=', {"name": "', last="]")
    given, rest = read(machine, f'{text}"}}{after}', random)
    assert given == text
    assert rest == (after or None)
    assert machine.is_done


@given(st.text('"}<\n', max_size=20), st.randoms(use_true_random=False))
def test_raw_text_that_nothing_closes(text: str, random: Random) -> None:
    """Its last terminal swallowed the closing, or it was cut off: a control token or the next call ends it all the same."""
    for after in (as_control("<|end|>"), "\n<call>"):
        machine = RawText('x"}', more="\n<call>")
        assert read(machine, text + after, random) == (text, after)
    cut = RawText('x"}', more="\n<call>")
    given, rest = read(cut, text, random)
    assert rest is None
    assert text.startswith(given)
    assert not cut.is_done


def test_raw_text_closed_by_a_control_token_ends_there() -> None:
    """Control tokens come whole; that of the next call ends it too."""
    closing, other = '"}' + as_control("<|end|>"), as_control("<|call|>")
    for end in (closing, other):
        machine = RawText(closing)
        given = "".join(machine.feed(piece) for piece in ('SELECT "', '}"', f"{end}more"))
        assert (given, machine.rest) == ('SELECT "}"', "more" if end == closing else f"{other}more")
