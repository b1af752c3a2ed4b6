"""What the prompt shows of a request beside its messages."""

from __future__ import annotations

import json
from typing import Any

import pytest

from completionist.dialects.choose import choose
from completionist.engine.scripted import CARD
from completionist.local.instructions import verbosity_instruction
from completionist.local.prepare import prompt_of, question_of
from completionist.types.caller import Caller
from tests.dialects.families import dialect
from tests.wire.bodies import chat, read

SYSTEM = {"role": "system", "content": "Be kind."}
USER = {"role": "user", "content": "hello"}
TOOL = {"type": "function", "function": {"name": "get_tide", "description": "Tide table"}}
SCHEMA = {"type": "object", "properties": {"height_m": {"type": "number"}}}


def shown(*messages: object, **fields: object) -> list[tuple[str, str | None]]:
    question = question_of(read(chat(*messages, **fields)), choose(CARD))
    return [(turn.role, turn.content) for turn in question.turns]


def test_unsent_verbosity_says_nothing() -> None:
    assert shown(SYSTEM, USER) == shown(SYSTEM, USER, verbosity=None) == [("system", "Be kind."), ("user", "hello")]


@pytest.mark.parametrize("verbosity", ["low", "medium", "high"])
def test_verbosity_is_an_instruction_in_the_system_text(verbosity: Any) -> None:
    instruction = verbosity_instruction(verbosity)
    assert shown(SYSTEM, USER, verbosity=verbosity) == [("system", f"Be kind.\n\n{instruction}"), ("user", "hello")]
    assert shown(USER, verbosity=verbosity) == [("system", instruction), ("user", "hello")]
    assert len({verbosity_instruction(each) for each in ("low", "medium", "high")}) == 3


def test_tools_are_described_in_the_system_text_where_the_template_knows_none() -> None:
    (_, system), user = shown(SYSTEM, USER, tools=[TOOL])
    assert system is not None
    assert system.startswith("Be kind.\n\n# Tools")
    assert '"name": "get_tide", "description": "Tide table"' in system
    assert user == ("user", "hello")


def test_tools_go_to_a_template_that_knows_them() -> None:
    question = question_of(read(chat(USER, tools=[TOOL])), dialect("hermes"))
    assert [tool["function"]["name"] for tool in json.loads(question.tools)] == ["get_tide"]
    assert [turn.content for turn in question.turns] == ["hello"]


@pytest.mark.parametrize("choice", ["none", "auto", {"type": "function", "function": {"name": "get_tide"}}])
def test_the_choice_of_a_tool_leaves_the_prompt_as_it_is(choice: object) -> None:
    assert shown(USER, tools=[TOOL], tool_choice=choice) == shown(USER, tools=[TOOL])


def test_a_schema_is_read_by_the_model_too() -> None:
    sent = {"name": "tide", "description": "One tide.", "schema": SCHEMA}
    ((_, system), _) = shown(USER, response_format={"type": "json_schema", "json_schema": sent})
    assert system == 'Answer with a JSON object of this form: tide (One tide.)\n{"height_m"?: number}'
    ((_, system), _) = shown(USER, response_format={"type": "json_schema", "json_schema": {"name": "tide"}})
    assert system == "Answer with a JSON object: tide."


def test_a_schema_that_has_no_short_form_is_read_as_it_is() -> None:
    schema = SCHEMA | {"patternProperties": {"^x": {"type": "null"}}}
    ((_, system), _) = shown(
        USER, response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    )
    assert system is not None
    assert json.loads(system.split("\n", 1)[1]) == schema


@pytest.mark.parametrize(
    ("sent", "cap", "limit"), [(None, None, None), (None, 9, 9), (5, None, 5), (5, 9, 5), (50, 9, 9)]
)
def test_the_operator_s_limit_holds_beside_the_client_s(sent: int | None, cap: int | None, limit: int | None) -> None:
    fields = {} if sent is None else {"max_completion_tokens": sent}
    prompt = prompt_of(
        read(chat(USER, **fields)), Caller(), segments=(), grammar=None, thinking=None, max_output_tokens=cap
    )
    assert prompt.max_tokens == limit
