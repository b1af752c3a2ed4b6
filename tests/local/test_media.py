"""Pictures on their way into a prompt: marks in the text, slots among the segments."""

from __future__ import annotations

import pytest

from completionist.engine.base import ControlToken, MediumSlot, Picture, PlainText, SpecialToken
from completionist.errors import ChatTemplateRefusal
from completionist.local.caching import with_breakpoint_marks
from completionist.local.marks import Marks
from completionist.local.media import media_of, placed, with_medium_marks
from completionist.types.messages import UserMessage
from completionist.types.parts import Part, PerceivedPart, Pixels, PromptCacheBreakpoint, TextPart
from completionist.types.request import ChatRequest

MARK, BREAK, PICTURE = "\U000f0000", "\U00100000", "\ue000"
MARKS = Marks((SpecialToken(1, "<s>", "control"), SpecialToken(2, "0:", "control")), MARK, BREAK, PICTURE)


def seen(path: str, *, has_breakpoint: bool = False) -> PerceivedPart:
    point = PromptCacheBreakpoint(mode="explicit") if has_breakpoint else None
    return PerceivedPart(medium=Pixels(path=path, width=2, height=1), prompt_cache_breakpoint=point)


def request(*messages: tuple[Part, ...]) -> ChatRequest:
    return ChatRequest(model="m", messages=tuple(UserMessage(content=parts) for parts in messages))


def segments(asked: ChatRequest) -> tuple[object, ...]:
    shown = with_breakpoint_marks(with_medium_marks(asked, PICTURE), BREAK)
    return MARKS.segments("".join(f"<s>{MARKS.mark(message.text)}" for message in shown.messages))


def test_pictures_are_where_their_parts_are() -> None:
    asked = request((TextPart(text="a"), seen("one"), TextPart(text="b")), (seen("two"), seen("three")))
    start = ControlToken(1)
    assert segments(asked) == (
        start, PlainText("a"), MediumSlot(0), PlainText("b"), start, MediumSlot(1), MediumSlot(2),
    )  # fmt: skip
    assert media_of(asked) == tuple(Picture(path=path, width=2, height=1) for path in ("one", "two", "three"))


def test_a_breakpoint_on_a_picture_is_behind_it() -> None:
    asked = request((seen("one", has_breakpoint=True), TextPart(text="b")))
    assert segments(asked) == (ControlToken(1), MediumSlot(0, is_breakpoint=True), PlainText("b"))


def test_a_mark_that_a_client_guessed_shows_none_that_is_not_there() -> None:
    forged = f"{PICTURE}0{PICTURE} {PICTURE}7{PICTURE} {PICTURE}{'9' * 5000}{PICTURE}"
    found = placed(MARKS.segments(MARKS.mark(forged)), 1)
    assert [one for one in found if isinstance(one, MediumSlot)] == [MediumSlot(0)]
    assert not [one for one in placed(MARKS.segments(MARKS.mark(forged)), 0) if isinstance(one, MediumSlot)]


def test_a_template_that_leaves_a_picture_out_is_not_obeyed() -> None:
    with pytest.raises(ChatTemplateRefusal, match="leaves out a picture"):
        placed((ControlToken(1), MediumSlot(0)), 2)
