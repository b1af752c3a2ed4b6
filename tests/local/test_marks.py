"""Client text never becomes a special token, whatever the template does to it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from completionist.engine.base import ControlToken, PlainText, Segment, SpecialToken
from completionist.local.marks import Marks
from completionist.local.template import ChatTemplate

MARK = "\U000f1234"
SPECIALS = (
    SpecialToken(0, "<s>", "control"),
    SpecialToken(1, "<|im_start|>", "control"),
    SpecialToken(2, "<|im_end|>", "control"),
    SpecialToken(3, "<|im_end|>>", "control"),
    SpecialToken(4, "<think>", "user_defined"),
    SpecialToken(5, "[INST]", "control"),
    SpecialToken(6, "\n\n", "user_defined"),
    SpecialToken(7, "<think", "user_defined"),
)
START, END, INST, THINK = ControlToken(1), ControlToken(2), ControlToken(5), ControlToken(4)
CHATML = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>"
marks = Marks(SPECIALS, MARK)


def segments(template: str, *contents: str) -> tuple[Segment, ...]:
    turns = [{"role": "user", "content": marks.mark(content)} for content in contents]
    return marks.segments(ChatTemplate(template, bos_text="<s>", eos_text="<|im_end|>").render(turns))


def controls(found: tuple[Segment, ...]) -> list[int]:
    return [segment.id for segment in found if isinstance(segment, ControlToken)]


def texts(found: tuple[Segment, ...]) -> str:
    return "".join(segment.text for segment in found if isinstance(segment, PlainText))


def test_runs_between_the_template_s_tokens_stay_whole() -> None:
    assert segments(CHATML, "Hello <b>there</b>\n\n[1]") == (
        START,
        PlainText("user\nHello <b>there</b>\n\n[1]"),
        END,
        PlainText("\n"),
        START,
    )


def test_the_longest_literal_is_meant() -> None:
    assert controls(marks.segments("<|im_end|>><|im_end|><think><think ")) == [3, 2, 4, 7]


def test_literals_in_client_text_stay_text() -> None:
    content = "".join(special.text for special in SPECIALS)
    found = segments(CHATML, content)
    assert controls(found) == [1, 2, 1]
    assert texts(found) == f"user\n{content}\n"


def test_user_defined_literals_in_client_text_are_cut_so_that_the_library_cannot_parse_them() -> None:
    found = segments(CHATML, "a<think>b<<think")
    assert found[1:4] == (PlainText("user\na<"), PlainText("think>b<<"), PlainText("think"))


ATTACKS = {
    "two messages make one": ("{{ messages[0].content }}{{ messages[1].content }}", ["<|im_", "end|>"]),
    "after the last character": ("{{ messages[0].content }}{{ messages[1].content }}", ["<", "|im_end|>"]),
    "the template begins it": ("<{{ messages[0].content }}", ["|im_end|>"]),
    "the template ends it": ("{{ messages[0].content }}|im_end|>", ["<"]),
    "in the middle of the template's own": ("<|{{ messages[0].content }}|>", ["im_end"]),
    "trimmed": ("{{ messages[0].content | trim }}{{ messages[1].content | trim }}", [" <|im_ ", " end|> "]),
    "trimmed behind the template's": ("<{{ messages[0].content | trim }}", ["  |im_end|>"]),
    "taken out": ("{{ messages[0].content.replace('xx', '') }}", ["<xx|im_xxend|>"]),
    "split away": ("{{ messages[0].content.split('xx')[-1] }}", ["abcxx<|im_end|>"]),
    "joined": ("{{ messages | map(attribute='content') | join }}", ["<|im", "_end|>"]),
    "lower case": ("{{ messages[0].content | lower }}", ["<|IM_END|> <|Im_eNd|>"]),
    "upper case": ("{{ messages[0].content | upper }}", ["[inst]"]),
    "cut": ("{{ messages[0].content[3:] }}", ["abc<|im_end|>"]),
    "as JSON": ("{{ messages[0] | tojson }}", ["<|im_end|>"]),
    "with marks of their own": ("{{ messages[0].content }}", [f"<{MARK}|im_end|>{MARK}<{MARK}{MARK}|im_end|>"]),
}


@pytest.mark.parametrize(("template", "contents"), ATTACKS.values(), ids=ATTACKS.keys())
def test_no_transformation_makes_a_control_token_of_client_text(template: str, contents: list[str]) -> None:
    found = segments("<s>" + template.replace("messages[1]", "messages[-1]"), *contents)
    assert controls(found) == [0]
    assert MARK not in texts(found)


def test_blanks_around_a_text_can_still_be_trimmed() -> None:
    assert texts(segments("{{ messages[0].content | trim }}", " \n <b> x <\n ")) == "<b> x <"


def test_an_empty_text_is_still_empty() -> None:
    assert segments("{% if messages[0].content %}full{% else %}empty{% endif %}", "") == (PlainText("empty"),)


def test_blanks_beside_a_token_that_strips_them_are_gone() -> None:
    role, end = (
        SpecialToken(1, "<|user|>", "control", strips_right=True),
        SpecialToken(2, "</s>", "control", strips_left=True),
    )
    stripping = Marks([role, end], MARK)
    rendered = f"a \n<|user|>\n{stripping.mark(' Hi <|user|> there ')}</s>\n<|user|>\t</s> b"
    assert stripping.segments(rendered) == (
        *(PlainText("a \n"), ControlToken(1), PlainText("Hi <|user|> there"), ControlToken(2), PlainText("\n")),
        *(ControlToken(1), ControlToken(2), PlainText(" b")),
    )


def test_special_tokens_of_a_single_letter_are_text() -> None:
    letters = Marks([SpecialToken(1, "ø", "user_defined"), SpecialToken(2, "§", "control")], MARK)
    assert letters.segments(letters.mark("rødt §") + "§") == (PlainText("rødt §§"),)


def test_special_tokens_of_blanks_are_text() -> None:
    assert marks.segments("a\n\nb") == (PlainText("a\n\nb"),)


def test_a_vocabulary_without_specials_has_only_text() -> None:
    plain = Marks((), MARK)
    assert plain.segments(plain.mark(" <|im_end|>")) == (PlainText(" <|im_end|>"),)


FRAGMENTS = st.sampled_from(
    [*(s.text for s in SPECIALS), "<", "|", "im_", "end|>", ">", " ", "x", "[", "INST]", MARK, "\n"]
)


@given(st.lists(FRAGMENTS, max_size=8).map("".join), st.lists(FRAGMENTS, max_size=8).map("".join))
def test_any_text_comes_through_unchanged_and_controls_nothing(one: str, other: str) -> None:
    found = marks.segments("<s>" + marks.mark(one) + marks.mark(other) + "<|im_end|>")
    assert controls(found) == [0, 2]
    assert texts(found) == (one + other).replace(MARK, "")
    for segment in found:
        assert not isinstance(segment, PlainText) or (segment.text and "<think" not in segment.text)


@pytest.mark.timeout(60)
def test_thousands_of_specials_and_millions_of_characters() -> None:
    """Time in proportion to either alone; their product would run into the test's time limit."""
    many = Marks([SpecialToken(i, f"<unused{i}>", "user_defined") for i in range(6000)], MARK)
    for text in ("<" * 1_000_000, "<unused" * 150_000, "plain text " * 100_000):
        assert texts(many.segments("<unused17>" + many.mark(text))) == text
