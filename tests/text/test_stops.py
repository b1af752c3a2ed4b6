"""Stop strings: what is shown, when, and at what cost."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from completionist.text.stops import StopStrings


def run(stop_strings: Sequence[str], pieces: Sequence[str]) -> tuple[list[str], bool]:
    stops = StopStrings(stop_strings)
    shown = [stops.feed(piece) for piece in pieces]
    return [*shown, stops.finish()], stops.is_met


def expected(stop_strings: Sequence[str], text: str) -> tuple[str, bool]:
    """The definition, by brute force: the first to be complete, and of two complete at once the longer."""
    for end in range(1, len(text) + 1):
        complete = [stop for stop in stop_strings if text[:end].endswith(stop)]
        if complete:
            return text[: end - max(map(len, complete))], True
    return text, False


TEXTS = [
    (["STOP"], "no end here"),
    (["STOP"], "before STOP after"),
    (["STOP"], "SSTSTOSTOP"),
    (["\n\n"], "one\ntwo\n\nthree"),
    (["aab"], "aaaab"),
    (["abab!"], "abababab!"),
    (["abcd", "bc"], "xabcd"),
    (["bc", "abc"], "xabc"),
    (["abc", "bc", "c"], "xabc"),
    (["aa", "aaa"], "aaaa"),
    (["山の", "🏔"], "高い山🏔の"),
    (["STOP"], "ends in STO"),
    (["x"], ""),
    (["<|im_end|>"], "a literal <|im_end|> in text"),
]


@pytest.mark.parametrize(("stop_strings", "text"), TEXTS)
def test_every_cut_shows_the_same(stop_strings: list[str], text: str) -> None:
    for first in range(len(text) + 1):
        for second in range(first, len(text) + 1):
            shown, is_met = run(stop_strings, [text[:first], text[first:second], text[second:]])
            assert ("".join(shown), is_met) == expected(stop_strings, text)


@given(
    st.lists(st.text("ab", min_size=1, max_size=6), min_size=1, max_size=4),
    st.lists(st.text("ab", max_size=5), max_size=12),
)
def test_small_alphabets_in_any_pieces(stop_strings: list[str], pieces: list[str]) -> None:
    shown, is_met = run(stop_strings, pieces)
    assert ("".join(shown), is_met) == expected(stop_strings, "".join(pieces))


@given(st.lists(st.text("ab", min_size=1, max_size=6), min_size=1, max_size=4), st.text("ab", max_size=40))
def test_nothing_is_held_back_that_cannot_become_a_stop_string(stop_strings: list[str], text: str) -> None:
    stops = StopStrings(stop_strings)
    shown = ""
    for i, character in enumerate(text):
        shown += stops.feed(character)
        if stops.is_met:
            return
        so_far = text[: i + 1]
        tails = [n for stop in stop_strings for n in range(1, len(stop)) if so_far.endswith(stop[:n])]
        assert len(so_far) - len(shown) == max(tails, default=0)


def test_text_without_stop_strings_passes_at_once() -> None:
    assert run([], ["a", "", "b"]) == (["a", "", "b", ""], False)


def test_nothing_comes_after_a_stop_string() -> None:
    stops = StopStrings(["."])
    assert (stops.feed("One. Two."), stops.feed("Three"), stops.finish()) == ("One", "", "")


def test_text_that_was_held_back_is_shown_as_soon_as_it_is_harmless() -> None:
    assert run(["STOP"], ["a ST", "OL", "ST"])[0] == ["a ", "STOL", "", "ST"]


MILLION = 1_000_000
HARD = {
    "never begun": ["x" * MILLION] * 4,
    "always begun": [character + "a" * MILLION for character in "abcd"],
    "nearly matched": ["a" * (MILLION - 1) + character for character in "bcde"],
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("stop_strings", HARD.values(), ids=HARD.keys())
def test_four_long_stop_strings_cost_time_in_proportion_to_the_text(stop_strings: list[str]) -> None:
    """Quadratic time would take minutes here, and the test's time limit would end it."""
    shown, is_met = run(stop_strings, ["aaaa"] * 150_000)
    assert not is_met
    assert sum(map(len, shown)) == 600_000


def test_a_long_text_that_nearly_matches_is_given_away_piece_by_piece() -> None:
    stops = StopStrings(["a" * 100_000 + "b"])
    assert stops.feed("a" * 100_000) == ""
    assert [stops.feed("a") for _ in range(1000)] == ["a"] * 1000
    assert len(stops.finish()) == 100_000
