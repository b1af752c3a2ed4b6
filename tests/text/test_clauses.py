"""Text is cut into clauses the same way however it comes, and nothing of it is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from completionist.text.clauses import Clauses


def cut(*pieces: str) -> list[str]:
    clauses = Clauses()
    return [clause for piece in pieces for clause in clauses.feed(piece)] + clauses.finish()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("High water, as always, is at noon. Low water.", ["High water, ", "as always, is at noon. ", "Low water."]),
        (
            "High water is near, as always. Low water, too, is at six. ",
            ["High water is near, ", "as always. ", "Low water, too, is at six. "],
        ),
        ("Yes. It is noon now. And then", ["Yes. It is noon now. ", "And then"]),
        ("Ask Dr. Smith or J. Doe, e.g. at noon. Bye", ["Ask Dr. Smith or J. ", "Doe, e.g. at noon. ", "Bye"]),
        ("It costs 3.50 or 1,000 in all", ["It costs 3.50 or 1,000 ", "in all"]),
        ("- one\n- two\nthe end", ["- one\n- two\n", "the end"]),
        ("", []),
    ],
)
def test_clauses(text: str, expected: list[str]) -> None:
    assert cut(text) == expected


@given(st.lists(st.text(alphabet='aB .,!\n"1é', max_size=60)))
def test_it_does_not_matter_how_the_text_comes(pieces: list[str]) -> None:
    text = "".join(pieces)
    clauses = cut(*pieces)
    assert "".join(clauses) == text
    assert clauses == cut(*text)
    assert all(len(clause) <= 300 for clause in clauses)


def test_a_long_sentence_is_cut_at_its_commas_and_words() -> None:
    clauses = cut("First of all, " + "word " * 40 + "and, " + "more " * 200)
    assert "".join(clauses).endswith("more ")
    assert all(len(clause) <= 300 for clause in clauses)
    assert all(clause.endswith(" ") for clause in clauses)
