"""Tools on their way to a model, and calls and results on their way back into a prompt."""

from __future__ import annotations

import json

import msgspec
import pytest

from completionist.dialects.choose import NAMES, DialectUnfit, choose
from completionist.dialects.history import Call, Turn, turns_of
from completionist.dialects.offer import described, instructions, legacy_offer, offer_of
from completionist.grammar.forms import AnyArguments, FreeInput, GrammarInput, NoArguments, StrictArguments
from completionist.types.messages import AssistantMessage, FunctionMessage, SystemMessage, ToolMessage, UserMessage
from completionist.types.tools import (
    Allowance,
    AllowedTools,
    CalledCustom,
    CalledFunction,
    CustomDefinition,
    CustomTool,
    CustomToolCall,
    FunctionDefinition,
    FunctionTool,
    FunctionToolCall,
    Grammar,
    GrammarFormat,
    Named,
    NamedCustom,
    NamedFunction,
)
from tests.dialects.families import FAMILIES, card, dialect

SCHEMA = {"type": "object", "properties": {"harbour": {"type": "string"}}}
TIDE = FunctionTool(function=FunctionDefinition(name="get_tide", description="Tides", parameters=SCHEMA))
STRICT = FunctionTool(function=FunctionDefinition(name="strictly", parameters=SCHEMA, strict=True))
NOW = FunctionTool(function=FunctionDefinition(name="now"))
SAY = CustomTool(custom=CustomDefinition(name="say"))
SQL = CustomTool(
    custom=CustomDefinition(name="sql", format=GrammarFormat(grammar=Grammar(syntax="lark", definition='start: "x"')))
)
TOOLS = (TIDE, STRICT, NOW, SAY, SQL)

MESSAGES = (
    SystemMessage(content="Be brief."),
    UserMessage(content="Tides?", name="ann"),
    AssistantMessage(
        content="Looking.",
        tool_calls=(
            FunctionToolCall(id="call_1", function=CalledFunction(name="get_tide", arguments='{"harbour": "Brest"}')),
            CustomToolCall(id="call_2", custom=CalledCustom(name="say", input='a "b"')),
        ),
    ),
    ToolMessage(content="12:40", tool_call_id="call_1"),
    ToolMessage(content="said", tool_call_id="call_2"),
    UserMessage(content="And?"),
)


def test_everything_may_be_called_unless_the_choice_says_less() -> None:
    offer = offer_of(TOOLS, None, is_parallel=True)
    assert offer is not None
    assert [type(tool.takes) for tool in offer.callables] == [
        AnyArguments,
        StrictArguments,
        NoArguments,
        FreeInput,
        GrammarInput,
    ]
    assert offer.callables[1].param == "tools[1].function.parameters"
    assert offer.callables[4].param == "tools[4].custom.format.grammar.definition"
    assert not offer.is_required
    assert offer.max_calls == 128
    assert offer_of(TOOLS, "none", is_parallel=True) is None
    assert offer_of((), None, is_parallel=True) is None


def test_a_choice_limits_what_may_be_called() -> None:
    named = offer_of(TOOLS, NamedFunction(function=Named(name="now")), is_parallel=False)
    assert named is not None
    assert ([tool.name for tool in named.callables], named.is_required, named.max_calls) == (["now"], True, 1)
    allowed = AllowedTools(
        allowed_tools=Allowance(
            mode="auto", tools=(NamedCustom(custom=Named(name="say")), NamedFunction(function=Named(name="get_tide")))
        )
    )
    some = offer_of(TOOLS, allowed, is_parallel=True)
    assert some is not None
    assert ([tool.name for tool in some.callables], some.is_required) == (["get_tide", "say"], False)
    required = offer_of(TOOLS, "required", is_parallel=True)
    assert required is not None
    assert required.is_required


def test_of_two_tools_of_one_name_the_first_counts() -> None:
    offer = offer_of(
        (NOW, FunctionTool(function=FunctionDefinition(name="now", parameters=SCHEMA))), None, is_parallel=True
    )
    assert offer is not None
    assert [type(tool.takes) for tool in offer.callables] == [NoArguments]


def test_legacy_functions_are_never_strict_and_one_call_answers() -> None:
    functions = (FunctionDefinition(name="a", parameters=SCHEMA), FunctionDefinition(name="b"))
    free = legacy_offer(functions, "auto")
    named = legacy_offer(functions, Named(name="b"))
    assert free is not None
    assert named is not None
    assert (free.max_calls, free.is_required, len(free.callables)) == (1, False, 2)
    assert ([tool.name for tool in named.callables], named.is_required) == (["b"], True)
    assert legacy_offer(functions, "none") is None


def test_tools_are_described_as_functions_all_of_them_always() -> None:
    assert [tool["function"]["name"] for tool in described(TOOLS)] == ["get_tide", "strictly", "now", "say", "sql"]
    assert all({"name", "description", "parameters"} <= tool["function"].keys() for tool in described(TOOLS))
    assert 'start: "x"' in json.dumps(described([SQL])[0]).replace("\\\\", "").replace('\\"', '"')
    text = instructions(TOOLS)
    assert all(json.dumps(tool["function"]) in text for tool in described(TOOLS))


def test_turns_keep_who_called_what() -> None:
    turns = turns_of(MESSAGES)
    assert [turn.role for turn in turns] == ["system", "user", "assistant", "tool", "tool", "user"]
    assert turns[2].calls == (
        Call("call_1", "get_tide", '{"harbour": "Brest"}'),
        Call("call_2", "say", '{"input": "a \\"b\\""}'),
    )
    assert (turns[3].name, turns[3].answers) == ("get_tide", "call_1")
    message = turns[2].as_message()
    assert message["tool_calls"][0]["function"] == {"name": "get_tide", "arguments": {"harbour": "Brest"}}
    assert "tool_calls" not in turns[1].as_message()
    assert turns[1].as_message()["name"] == "ann"


def test_arguments_that_are_no_json_stay_text() -> None:
    call = CalledFunction(name="f", arguments="{broken")
    turn = turns_of([AssistantMessage(tool_calls=(FunctionToolCall(id="x", function=call),))])[0]
    assert turn.as_message()["tool_calls"][0]["function"]["arguments"] == "{broken"
    assert turn.content == ""


def test_a_function_message_answers_the_call_before_it() -> None:
    turns = turns_of(
        [
            AssistantMessage(function_call=CalledFunction(name="f", arguments="{}")),
            FunctionMessage(name="f", content="done"),
        ]
    )
    assert turns[1].answers == turns[0].calls[0].id
    assert turns[1].name == "f"


@pytest.mark.parametrize("family", ["llama3", "harmony"])
def test_one_call_to_a_turn_tells_the_same_story(family: str) -> None:
    turns = dialect(family).write(turns_of(MESSAGES))
    assert [turn.role for turn in turns] == ["system", "user", "assistant", "tool", "assistant", "tool", "user"]
    assert [len(turn.calls) for turn in turns if turn.role == "assistant"] == [1, 1]
    assert [turn.content for turn in turns] == ["Be brief.", "Tides?", "Looking.", "12:40", "", "said", "And?"]


def test_short_ids_still_belong_together() -> None:
    turns = dialect("mistral").write(turns_of(MESSAGES))
    assert [turn.role for turn in turns] == ["system", "user", "assistant", "tool", "tool", "assistant", "user"]
    ids = [call.id for call in turns[2].calls]
    assert ids == [turn.answers for turn in turns if turn.role == "tool"]
    assert all(len(call_id) == 9 and call_id.isalnum() for call_id in ids)


def test_text_beside_calls_has_a_turn_of_its_own_where_it_would_hide_them() -> None:
    given = card("deepseek")
    template = f"{given.chat_template}{{% if message['content'] is none %}}{{{{ tool['function']['arguments'] }}}}"
    speaker = choose(msgspec.structs.replace(given, chat_template=template))
    turns = speaker.write(turns_of(MESSAGES))[2:4]
    assert [(turn.content, len(turn.calls)) for turn in turns] == [("Looking.", 0), (None, 2)]
    silent = speaker.messages(turns)[1]
    assert silent["content"] is None
    assert silent["tool_calls"][0]["function"]["arguments"] == '{"harbour": "Brest"}'


def test_where_nothing_is_known_of_tools_everything_is_text() -> None:
    turns = dialect("plain").write(turns_of(MESSAGES))
    assert [turn.role for turn in turns] == ["system", "user", "assistant", "user"]
    assert not any(turn.calls for turn in turns)
    assert '<tool_call>\n{"name": "get_tide", "arguments": {"harbour": "Brest"}}\n</tool_call>' in str(turns[2].content)
    assert turns[3].content == "Result of get_tide:\n12:40\n\nResult of say:\nsaid\n\nAnd?"
    assert dialect("plain").write(turns_of(MESSAGES[:-1]))[-1].role == "user"


def test_history_without_tools_is_left_alone() -> None:
    turns = [Turn(role="user", content="a"), Turn(role="assistant", content="b"), Turn(role="user", content="c")]
    for family in FAMILIES:
        assert dialect(family).write(turns) == turns


@pytest.mark.parametrize("family", FAMILIES)
def test_dialects_are_told_from_template_and_vocabulary(family: str) -> None:
    assert dialect(family).name == family.split(maxsplit=1)[0]


def test_an_operator_may_choose_and_is_told_what_cannot_be() -> None:
    assert choose(card("hermes"), "plain").name == "plain"
    with pytest.raises(DialectUnfit, match="harmony"):
        choose(card("hermes"), "harmony")
    assert set(NAMES) == {family.split()[0] for family in FAMILIES}


def test_what_the_prompt_ends_with_says_whether_the_model_thinks() -> None:
    thinker = dialect("hermes thinking")
    assert thinker.thinking_after("…<|im_start|>assistant\n<think>\n") == "open"
    assert thinker.thinking_after("…<|im_start|>assistant\n<think>\n\n</think>\n\n") == "closed"
    assert thinker.thinking_after("…<|im_start|>assistant\n") == "possible"
    assert dialect("hermes").thinking_after("<think>") == "closed"
    assert dialect("harmony").thinking_after("Hi<|end|><|start|>assistant") == "possible"
