"""Citations are found the same way however the text comes; code, formulas and other numbers are none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from completionist.text.citations import Citation, Citations


def found(*pieces: str, n_sources: int = 3, is_json: bool = False) -> list[tuple[str, int]]:
    """What cites, and which source."""
    citations = Citations(n_sources, is_json=is_json)
    for piece in pieces:
        citations.feed(piece)
    text = "".join(pieces)
    return [(text[start:end], number) for start, end, number in citations.finish()]


PROSE = [
    ("High water is at noon [1].", [("[1]", 1)]),
    ("[1][2] and [ 3 ]", [("[1]", 1), ("[2]", 2), ("[ 3 ]", 3)]),
    ("Both say so [1, 3], [2,2].", [("[1, 3]", 1), ("[1, 3]", 3), ("[2,2]", 2)]),
    ("水は正午に高い【2】。 𝄞 [1]", [("【2】", 2), ("[1]", 1)]),
    ("[[1]] and [1](https://a.example/)", [("[1]", 1), ("[1]", 1)]),
    ("[1 and [2]", [("[2]", 2)]),
    ("[0] [4] [1, 4] [2026] [] [,] [1,] [x] [1x] [1-2] [1】 [" + "1," * 20 + "1]", []),
    ("[1", []),
    (r"\[1\] but \\[1]", [("[1]", 1)]),
    ("`days[1]` is the second day [2]", [("[2]", 2)]),
    ("``a ` [1]`` b[2] `c[3]`", [("[2]", 2)]),
    ("a lone ` is no code [1]\n\nso [2] `[3]", [("[1]", 1), ("[2]", 2), ("[3]", 3)]),
    (r"an escaped \` is none either [1] `", [("[1]", 1)]),
    ("so:\n```python\ndays[1]\n\n`days[2]\n```\n[3]", [("[3]", 3)]),
    ("`open [1]\n  ````\n[2]\n```\n[2]\n````\n[3]", [("[1]", 1), ("[3]", 3)]),
    ("```\n[1] to the end", []),
    ("`x[1]`", []),
    ("", []),
]
JSON = [
    ('{"days": [1, 2], "text": "at noon [1]"}', [("[1]", 1)]),
    (r'{"a\" [1]": [2], "b\\": [3], "c": "`x[2]`"}', [("[1]", 1), ("[2]", 2)]),
    ('["[1', []),
]


@pytest.mark.parametrize(
    ("text", "is_json", "expected"),
    [(text, is_json, expected) for is_json, cases in ((False, PROSE), (True, JSON)) for text, expected in cases],
)
def test_what_cites_at_every_cut(text: str, is_json: bool, expected: list[tuple[str, int]]) -> None:
    assert found(text, is_json=is_json) == expected
    assert found(*text, is_json=is_json) == expected
    for cut in range(len(text)):
        assert found(text[:cut], text[cut:], is_json=is_json) == expected


@given(st.lists(st.text(alphabet='[]123, `\\\n"a【】', max_size=20)), st.booleans())
def test_it_does_not_matter_how_the_text_comes(pieces: list[str], is_json: bool) -> None:
    citations = found(*pieces, is_json=is_json)
    assert citations == found("".join(pieces), is_json=is_json)
    assert all(1 <= number <= 3 and str(number) in marker for marker, number in citations)


def test_positions_count_characters() -> None:
    citations = Citations(1)
    citations.feed("𝄞é [1]")
    assert citations.finish() == (Citation(3, 6, 1),)
