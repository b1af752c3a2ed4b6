"""`reasoning_effort` at each kind of template (contract 13.2)."""

from __future__ import annotations

import pytest

from completionist.dialects.base import segments_of
from completionist.dialects.thinking import way_of
from completionist.engine.base import ControlToken, PlainText
from completionist.local.effort import Effort, Plan, plan_of
from tests.dialects.families import card, dialect

LEVELS = "Reasoning: {{ reasoning_effort }}"
SWITCH = "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}"
OTHER_SWITCH = "{% if not thinking %}</think>{% else %}<think>{% endif %}"
ALWAYS = "<think>{{ message.thinking }}</think>"


def test_ways_of_templates() -> None:
    assert [way_of(template) for template in (LEVELS, SWITCH, OTHER_SWITCH, ALWAYS)] == [
        *("levels", "switch", "switch", "always")
    ]


@pytest.mark.parametrize("template", [LEVELS, SWITCH, ALWAYS])
def test_without_an_effort_the_template_decides(template: str) -> None:
    assert plan_of(None, template) == Plan()


@pytest.mark.parametrize(
    ("effort", "level"),
    [("minimal", "low"), ("low", "low"), ("medium", "medium"), ("high", "high"), ("xhigh", "high"), ("max", "high")],
)
def test_levels(effort: Effort, level: str) -> None:
    assert plan_of(effort, LEVELS) == Plan(switches={"reasoning_effort": level})
    assert plan_of("none", LEVELS).wanted == "closed"


@pytest.mark.parametrize(
    ("effort", "budget"),
    [("minimal", 256), ("low", 1024), ("medium", 4096), ("high", 16_384), ("xhigh", None), ("max", None)],
)
def test_switches_and_budgets(effort: Effort, budget: int | None) -> None:
    assert plan_of(effort, SWITCH) == Plan(switches={"enable_thinking": True}, wanted="open", budget_tokens=budget)
    assert plan_of(effort, OTHER_SWITCH).switches == {"thinking": True}
    assert plan_of(effort, ALWAYS) == Plan(wanted="open", budget_tokens=budget)


def test_none_turns_thinking_off() -> None:
    assert plan_of("none", SWITCH) == Plan(switches={"enable_thinking": False}, wanted="closed")
    assert plan_of("none", ALWAYS) == Plan(wanted="closed")


def test_what_a_template_left_undecided_is_written() -> None:
    speaker = dialect("hermes thinking")
    assert speaker.written_thinking("possible", wanted="open") == ("<think>\n", "open")
    assert speaker.written_thinking("possible", wanted="closed") == ("<think>\n\n</think>\n\n", "closed")
    assert speaker.written_thinking("open", wanted="closed") == ("\n</think>\n\n", "closed")
    assert speaker.written_thinking("open", wanted="open") == ("", "open")
    assert speaker.written_thinking("closed", wanted="open") == ("", "closed")


def test_a_family_with_headers_is_held_by_its_grammar() -> None:
    assert dialect("harmony").written_thinking("possible", wanted="closed") == ("", "closed")
    assert dialect("harmony").written_thinking("possible", wanted="open") == ("", "possible")


def test_markers_that_are_control_tokens_are_written_as_such() -> None:
    own = card("mistral")
    ids = {token.text: token.id for token in own.specials}
    spelled = dialect("mistral").layout.thinking
    assert spelled is not None
    assert segments_of(f"{spelled.opening}\n", own) == (ControlToken(ids["[THINK]"]), PlainText("\n"))
