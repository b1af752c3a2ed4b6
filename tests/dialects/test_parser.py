"""Reading answers: at every cut, from every family, and from models that write whatever they like."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from completionist.grammar.forms import AnyArguments, Callable, FreeInput, GrammarInput, Offer
from completionist.text.channels import as_control, split_controls
from tests.dialects.families import CONTROLS, FAMILIES, WORDS, dialect
from tests.dialects.reading import Answer, ReadCall, read
from tests.support.examples import examples

OFFER = Offer(
    callables=(
        Callable(name="get_tide", takes=AnyArguments(), param=""),
        Callable(name="get_tide_table", takes=AnyArguments(), param=""),
        Callable(name="say", takes=FreeInput(), param=""),
        Callable(name="run_sql", takes=GrammarInput("lark", "start: /.*/"), param=""),
    ),
    is_required=False,
)
TIDE = '{"harbour": "Brest } \\"", "at": [1, {}]}'
C = as_control


def symbols_of(text: str) -> list[str]:
    """Characters, and control tokens whole: the finest cut there is."""
    return [symbol for piece, is_token in split_controls(text) for symbol in ([C(piece)] if is_token else piece)]


def cut(text: str, random: Random, *, size: int) -> list[str]:
    symbols = symbols_of(text)
    pieces: list[str] = []
    while symbols:
        n = random.randint(1, size)
        pieces.append("".join(symbols[:n]))
        symbols = symbols[n:]
    return pieces


def calls(*called: tuple[str, str, bool]) -> list[ReadCall]:
    return [ReadCall(name, is_custom, arguments, is_whole=True) for name, arguments, is_custom in called]


ONE = calls(("get_tide", TIDE, False))
TWO = calls(("get_tide_table", TIDE, False), ("get_tide", "{}", False))
SAID = calls(("say", 'a "quote"\n\u00e9\U0001f600', True))
SQL = calls(("run_sql", 'SELECT "a}" \\ \n', True))
JSON_INPUT = calls(("run_sql", '{"a": {"b": "c"}}', True))
SAID_JSON = json.dumps({"input": SAID[0].arguments})
SQL_RAW = '{"input": "' + SQL[0].arguments + '"}'

_SECTION, _CALL, _SEP, _CALL_END, _SECTION_END = map(C, CONTROLS["deepseek"])
_MESSAGE, _CHANNEL, _END, _START = map(C, ("<|message|>", "<|channel|>", "<|end|>", "<|start|>"))
_HEAD = f"{_CHANNEL}commentary to=functions."
_JSON = f" {C('<|constrain|>')}json{_MESSAGE}"


def tagged(name: str, arguments: str, key: str = "arguments") -> str:
    return f'<tool_call>\n{{"name": "{name}", "{key}": {arguments}}}\n</tool_call>'


def listed(name: str, arguments: str) -> str:
    return f'{{"name": "{name}", "arguments": {arguments}}}'


CASES: list[tuple[str, str, Answer]] = [
    ("plain", "Just text with a { and a <tool.", Answer(text="Just text with a { and a <tool.")),
    ("plain", f"Look:\n{tagged('get_tide', TIDE)}", Answer(text="Look:\n", calls=ONE)),
    ("plain", f'```json\n{{\n  "name": "get_tide",\n  "arguments": {TIDE}\n}}\n```', Answer(calls=ONE)),
    ("plain", f'{{"name":"get_tide","arguments":{TIDE}}}', Answer(calls=ONE)),
    (
        "plain",
        '```json\n{"name": "Bob", "arguments": 1}\n```',
        Answer(text='```json\n{"name": "Bob", "arguments": 1}\n```'),
    ),
    ("plain", tagged("unknown", "{}"), Answer(text=tagged("unknown", "{}"))),
    ("hermes", f"{tagged('get_tide_table', TIDE)}\n{tagged('get_tide', '{}')}", Answer(calls=TWO)),
    ("hermes", f"{tagged('get_tide_table', TIDE)}{tagged('get_tide', '{}')} done", Answer(text="done", calls=TWO)),
    ("hermes", 'Look.\n<tool_call>\n{"name": "get_', Answer(text="Look.\n")),
    ("hermes", "Look at <tool", Answer(text="Look at <tool")),
    ("hermes", f'{tagged("get_tide", TIDE)}\n<tool_call>\n{{"na', Answer(calls=ONE)),
    ("hermes", tagged("run_sql", '{"input": "{"a": {"b": "c"}}"}'), Answer(calls=JSON_INPUT)),
    ("hermes", tagged("say", SAID_JSON), Answer(calls=SAID)),
    ("hermes", tagged("run_sql", SQL_RAW), Answer(calls=SQL)),
    ("hermes", "<think>is text</think> here", Answer(text="<think>is text</think> here")),
    ("hermes thinking", "\n<think>a < b</think>\n\nYes", Answer(thought="a < b", text="Yes")),
    ("hermes thinking", f"<think>hm</think>{tagged('get_tide', TIDE)}", Answer(thought="hm", calls=ONE)),
    ("hermes thinking", "<think>cut off </thi", Answer(thought="cut off </thi")),
    ("hermes thinking", "<thin ice", Answer(text="<thin ice")),
    ("hermes thinking", " <th", Answer(text=" <th")),
    ("llama3", f'{{"name": "get_tide", "parameters": {TIDE}}}', Answer(calls=ONE)),
    ("llama3", f'{C("<|python_tag|>")}{{"name": "get_tide", "parameters": {TIDE}}}', Answer(calls=ONE)),
    ("llama3", f'{{"name": "run_sql", "parameters": {SQL_RAW}}}', Answer(calls=SQL)),
    ("llama3", '{"name": "run_sql", "parameters": {"input": "{"a": {"b": "c"}}"}}', Answer(calls=JSON_INPUT)),
    (
        "mistral list",
        f'{C("[TOOL_CALLS]")}[{{"name": "run_sql", "arguments": {{"input": "{{"a": {{"b": "c"}}}}"}}}}]',
        Answer(calls=JSON_INPUT),
    ),
    (
        "mistral",
        (
            f'{C("[TOOL_CALLS]")}run_sql{C("[ARGS]")}{{"input": "{{"a": {{"b": "c"}}}}"}}'
            f"{C('[TOOL_CALLS]')}get_tide{C('[ARGS]')}{TIDE}"
        ),
        Answer(calls=[*JSON_INPUT, *ONE]),
    ),
    ("harmony", f'{_HEAD}run_sql{_JSON}{{"input": "{{"a": {{"b": "c"}}}}"}}', Answer(calls=JSON_INPUT)),
    (
        "gemma",
        f'{C("<|tool_call>")}call:run_sql{{"input": "{{"a": {{"b": "c"}}}}"}}{C("<tool_call|>")}',
        Answer(calls=JSON_INPUT),
    ),
    (
        "mistral list",
        f"Look.{C('[TOOL_CALLS]')}[{listed('get_tide_table', TIDE)}, {listed('get_tide', '{}')}]",
        Answer(text="Look.", calls=TWO),
    ),
    ("mistral list", '[TOOL_CALLS][{"name": "get_tide"', Answer(text='[TOOL_CALLS][{"name": "get_tide"')),
    (
        "mistral",
        f"{C('[THINK]')}hm{C('[/THINK]')}{C('[TOOL_CALLS]')}get_tide_table{C('[ARGS]')}{TIDE}{C('[TOOL_CALLS]')}get_tide{C('[ARGS]')}{{}}",
        Answer(thought="hm", calls=TWO),
    ),
    (
        "gemma",
        (
            f"{C('<|channel>')}thought\nhm{C('<channel|>')}{C('<|tool_call>')}call:get_tide_table{TIDE}{C('<tool_call|>')}"
            f"{C('<|tool_call>')}call:get_tide{{}}{C('<tool_call|>')}"
        ),
        Answer(thought="hm", calls=TWO),
    ),
    ("gemma", f"{C('<|tool_call>')}call:say{SAID_JSON}{C('<tool_call|>')}", Answer(calls=SAID)),
    (
        "harmony",
        f"{_CHANNEL}analysis{_MESSAGE}hm{_END}{_START}assistant{_HEAD}get_tide{_JSON}{TIDE}",
        Answer(thought="hm", calls=ONE),
    ),
    ("harmony", f" to=functions.get_tide{_CHANNEL}commentary json{_MESSAGE}{TIDE}", Answer(calls=ONE)),
    ("harmony", f"{_HEAD}run_sql{_JSON}{SQL_RAW}", Answer(calls=SQL)),
    (
        "harmony",
        (
            f"{_CHANNEL}analysis{_MESSAGE}one{_END}{_START}assistant{_CHANNEL}commentary{_MESSAGE}Look. {_END}{_START}assistant"
            f"{_CHANNEL}analysis{_MESSAGE} two{_END}{_START}assistant{_CHANNEL}final{_MESSAGE}Yes"
        ),
        Answer(thought="one two", text="Look. Yes"),
    ),
    ("harmony", "no header at all", Answer(text="no header at all")),
    (
        "deepseek",
        f"Look.{_SECTION}{_CALL}get_tide_table{_SEP}{TIDE}{_CALL_END}{_CALL}get_tide{_SEP}{{}}{_CALL_END}{_SECTION_END}",
        Answer(text="Look.", calls=TWO),
    ),
    (
        "deepseek fenced",
        (
            f"{C('<think>')}hm{C('</think>')}\n\n{_SECTION}{_CALL}function{_SEP}get_tide_table\n```json\n{TIDE}\n```{_CALL_END}\n"
            f"{_CALL}function{_SEP}get_tide\n```json\n{{}}\n```{_CALL_END}{_SECTION_END}"
        ),
        Answer(thought="hm", calls=TWO),
    ),
]


@pytest.mark.parametrize(("family", "text", "expected"), CASES)
def test_answers_are_read_at_every_cut(family: str, text: str, expected: Answer) -> None:
    symbols = symbols_of(text)
    for split in range(len(symbols) + 1):
        pieces = ["".join(symbols[:split]), "".join(symbols[split:])]
        assert read(dialect(family).parser(OFFER, "possible"), pieces) == expected
    assert read(dialect(family).parser(OFFER, "possible"), symbols) == expected


@pytest.mark.parametrize(("family", "text", "expected"), CASES)
def test_without_an_offer_nothing_is_a_call(family: str, text: str, expected: Answer) -> None:
    answer = read(dialect(family).parser(None, "possible"), [text])
    assert not answer.calls
    assert answer.thought == expected.thought
    assert all(call.name in answer.text for call in expected.calls)


def fragments(family: str) -> st.SearchStrategy[str]:
    controls = [C(spelling) for spelling in CONTROLS[family]]
    heads = [text for of, text, _ in CASES if of == family]
    pieces = [piece for head in heads for piece in (head, head[: len(head) // 2], head[len(head) // 2 :])]
    whole = [
        piece for piece in pieces if piece.count("\udc00") == piece.count("\udc01") and not piece.startswith("\udc01")
    ]
    return st.lists(st.one_of(st.sampled_from([*controls, *WORDS, *whole]), st.text(max_size=4)), max_size=12).map(
        "".join
    )


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=examples(60))
@given(data=st.data())
def test_the_cut_never_matters_and_nothing_is_lost(family: str, data: st.DataObject) -> None:
    text = data.draw(fragments(family))
    pieces = cut(text, Random(data.draw(st.integers(0, 2**16))), size=5)  # noqa: S311 - a repeatable cut
    speaker = dialect(family)
    for offer in (OFFER, None):
        whole = read(speaker.parser(offer, "possible"), [text])
        assert read(speaker.parser(offer, "possible"), pieces) == whole
        assert "\udc00" not in whole.text + whole.thought


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=examples(60))
@given(text=st.text())
def test_text_without_markers_is_shown_as_it_is(family: str, text: str) -> None:
    answer = read(dialect(family).parser(None, "possible"), cut(text, Random(1), size=3))  # noqa: S311 - a repeatable cut
    assert answer == Answer(text=text)


HOSTILE: dict[str, str] = {
    "unclosed tag": "<tool_call>",
    "braces": "{",
    "unfinished head": '<tool_call>\n{"name": "get_tide", ',
    "blanks": "<tool_call>" + " " * 40,
    "nested": '{"name": {"name": "',
    "calls": tagged("get_tide", "{}"),
    "deep arguments": tagged("get_tide", "[")[:-14],
    "backslashes": "\\",
    "thinking": "<think>",
    "fences": "```json\n",
    "names": '{"name": "' + "a" * 63,
}


QUICKLY = ("unfinished head", "calls")


@pytest.mark.parametrize(
    ("family", "name"),
    [
        *(
            pytest.param("hermes thinking", name, marks=() if name in QUICKLY else pytest.mark.large)
            for name in HOSTILE
        ),
        ("llama3", "nested"),
        ("mistral list", "braces"),
    ],
)
@pytest.mark.timeout(60)
def test_a_megabyte_of_anything_takes_linear_time(family: str, name: str) -> None:
    """Quadratic work on a megabyte would outlast the test's time limit many times over."""
    text = (HOSTILE[name] * (2**20 // len(HOSTILE[name]) + 1))[: 2**20]
    whole = read(dialect(family).parser(OFFER, "possible"), [text])
    assert read(dialect(family).parser(OFFER, "possible"), [text[i : i + 31] for i in range(0, len(text), 31)]) == whole
    read_back = whole.text + whole.thought + "".join(call.arguments for call in whole.calls)
    assert len(read_back) > 0


def test_positions_point_into_what_was_fed() -> None:
    text = f"<think>hm</think>\n\nLook: {tagged('get_tide', '{}')}{tagged('get_tide', '{}')}after"
    fed, stream = "", ""
    parser = dialect("hermes thinking").parser(OFFER, "possible")
    found: list[tuple[str, int]] = []
    for symbol in symbols_of(text):
        fed += symbol
        found += positioned(parser.feed(symbol))
    found += positioned(parser.finish())
    assert [text[at : at + len(piece)] for piece, at in found] == [piece for piece, _ in found]
    stream = "".join(piece for piece, _ in found)
    assert stream == "hmLook: after"


def positioned(events: Sequence[object]) -> list[tuple[str, int]]:
    return [(event.text, event.at) for event in events if hasattr(event, "text") and hasattr(event, "at")]
