"""What of a request goes to the prefix cache, and where its breakpoints end up in the prompt (contract 8.2, 13.5)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from completionist.engine.base import Caching, PlainText, SpecialToken
from completionist.local.caching import caching_of, with_breakpoint_marks
from completionist.local.marks import Marks
from tests.wire.bodies import HELLO, body, chat, read

BREAK = "\U00101234"
MARK = "\U000f1234"
MINUTES = 60.0
IN_MEMORY = {"max_age_s": 60 * MINUTES, "max_idle_s": 10 * MINUTES}


def part(text: str, ttl: str | None = None) -> dict[str, Any]:
    point = {"mode": "explicit"} | ({"ttl": ttl} if ttl else {})
    return {"type": "text", "text": text, "prompt_cache_breakpoint": point}


def plain(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def user(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, Caching()),
        ({"prompt_cache_options": {}}, Caching()),
        ({"prompt_cache_options": {"mode": "implicit"}}, Caching()),
        ({"prompt_cache_options": {"ttl": "30m"}}, Caching(min_age_s=30 * MINUTES)),
        ({"prompt_cache_options": {"mode": "explicit", "ttl": "30m"}}, Caching(is_explicit=True)),
        ({"prompt_cache_key": "k"}, Caching(key="k")),
        ({"prompt_cache_retention": "in_memory"}, Caching(**IN_MEMORY)),  # type: ignore[arg-type]  # seconds are floats
        ({"prompt_cache_retention": "24h"}, Caching(max_age_s=24 * 60 * MINUTES)),
        ({"messages": [user(part("x"))]}, Caching(min_age_s=30 * MINUTES)),
        ({"messages": [user(part("x", "12h"), part("y"))]}, Caching(min_age_s=720 * MINUTES)),
        (
            {"messages": [user(part("x", "12h"), *(part("y") for _ in range(3)))]},
            Caching(min_age_s=30 * MINUTES),
        ),
        (
            {
                "messages": [user(part("x", "12h"), *(part("y") for _ in range(3)))],
                "prompt_cache_options": {"mode": "explicit"},
            },
            Caching(is_explicit=True, min_age_s=720 * MINUTES),
        ),
    ],
)
def test_what_is_asked(fields: dict[str, Any], expected: Caching) -> None:
    assert caching_of(read(body(**fields))) == expected


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ([part("one"), plain(" two")], f"one{BREAK} two"),
        ([part("one \n"), plain("two")], f"one{BREAK} \ntwo"),
        ([plain("one "), part(" \n"), plain("two")], f"one{BREAK}  \ntwo"),
        ([part("one"), part(" two")], f"one{BREAK} two{BREAK}"),
        ([part(""), plain("one")], "one"),
        ([part(f"{BREAK}one")], f"one{BREAK}"),
        ([plain("one")], "one"),
    ],
)
def test_the_mark_stands_behind_the_last_character_that_templates_keep(
    content: list[dict[str, Any]], shown: str
) -> None:
    marked = with_breakpoint_marks(read(chat(HELLO, user(*content))), BREAK)
    assert [message.text for message in marked.messages] == ["hello", shown]


def test_no_more_breakpoints_are_marked_than_are_looked_up() -> None:
    """A long text and a hundred thousand empty parts behind it cost no more than they should."""
    empty = [part("") for _ in range(100_000)]
    marked = with_breakpoint_marks(read(chat(user(part("x" * 1_000_000), *empty))), BREAK)
    assert marked.messages[0].text.count(BREAK) == 1
    marked = with_breakpoint_marks(read(chat(*(user(part(f"{i} "), part("x")) for i in range(60)))), BREAK)
    counts = [message.text.count(BREAK) for message in marked.messages]
    assert counts == [0] * 20 + [2] * 40


def test_a_refusal_part_may_end_at_a_breakpoint() -> None:
    refusal = {"type": "refusal", "refusal": "I will not.", "prompt_cache_breakpoint": {"mode": "explicit"}}
    marked = with_breakpoint_marks(read(chat(HELLO, {"role": "assistant", "content": [refusal]})), BREAK)
    assert marked.messages[1].text == f"I will not.{BREAK}"


SPECIALS = (
    SpecialToken(1, "<s>", "control"),
    SpecialToken(2, "<think>", "user_defined"),
    SpecialToken(3, "</s>", "control", strips_left=True, strips_right=True),
)
MARKS = Marks(SPECIALS, MARK, BREAK)


@given(st.lists(st.sampled_from(["a", " ", "<s>", "<think>", "<thi", "nk>", "é", "</s>", "\n"]), max_size=8), st.data())
def test_breakpoints_change_nothing_else_in_the_prompt(pieces: list[str], data: st.DataObject) -> None:
    cuts = data.draw(st.sets(st.integers(0, len(pieces) - 1), max_size=3)) if pieces else set()
    parts = [part(piece) if i in cuts else plain(piece) for i, piece in enumerate(pieces)] or [plain("")]
    request = read(chat(user(*parts)))
    marked = MARKS.mark(with_breakpoint_marks(request, BREAK).messages[0].text)
    unmarked = MARKS.mark(request.messages[0].text)
    with_points = MARKS.segments(f"<s>{marked}</s>")
    without = MARKS.segments(f"<s>{unmarked}</s>")
    assert [s.text if isinstance(s, PlainText) else s for s in with_points] == [
        s.text if isinstance(s, PlainText) else s for s in without
    ]
    before = ["".join(pieces[: i + 1]).rstrip() for i in sorted(cuts)]
    assert found(with_points) == sorted({len(text) for text in before if text})


def found(segments: tuple[object, ...]) -> list[int]:
    """Characters before each breakpoint, in all plain text together."""
    points, n_characters = [], 0
    for segment in segments:
        if isinstance(segment, PlainText):
            points += [n_characters + point for point in segment.breakpoints]
            n_characters += len(segment.text)
    return points
