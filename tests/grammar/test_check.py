"""Grammars of clients, sound and hostile: the answer is a verdict in the contract's words, never a crash or a stall."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from msgspec.structs import replace

from completionist.engine.base import GrammarSpec
from completionist.errors import InvalidRequest, Overloaded
from completionist.grammar import trier
from completionist.grammar.check import ClientGrammar, GrammarChecks
from completionist.grammar.checker import NICENESS
from completionist.grammar.frames import Part
from completionist.types.refusals import InvalidSchema
from tests.engine.asking import until

SOUND: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
PROJECT = "tides"
NOTHING = r"[^\s\S]"
PARAM = "tools[0].custom.format.grammar.definition"


def lark(definition: str) -> ClientGrammar:
    return ClientGrammar(part=Part("lark", definition), param=PARAM)


def regex(definition: str) -> ClientGrammar:
    return ClientGrammar(part=Part("regex", definition), param=PARAM)


def schema(given: Any) -> ClientGrammar:
    text = given if isinstance(given, str) else json.dumps(given)
    return ClientGrammar(part=Part("schema", text), param="response_format", subject="response_format 'x'")


class Judge:
    """Checks that last as long as the tests of this file; a grammar that costs them their process has another started."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner
        self._checks = GrammarChecks()

    def fault(self, *clients: ClientGrammar) -> InvalidRequest | None:
        """Why the request is refused; None where it is not."""
        try:
            self.granted(*clients)
        except InvalidRequest as refusal:
            return refusal
        return None

    def granted(self, *clients: ClientGrammar) -> frozenset[str]:
        """The names of the wishes that are granted."""
        return self._runner.run(self._checks.check(clients, PROJECT))

    def fits(self, whole: GrammarSpec) -> bool:
        return self._runner.run(self._checks.fits(whole, PROJECT))

    def close(self) -> None:
        self._runner.run(self._checks.close())


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with asyncio.Runner() as runner:
        judge = Judge(runner)
        yield judge
        judge.close()


def nested(n_levels: int) -> str:
    return '{"type":"array","items":' * n_levels + '{"type":"integer"}' + "}" * n_levels


def reference_tree(n_levels: int) -> dict[str, Any]:
    """2 ** n_levels nodes, were it written out."""
    definitions: dict[str, Any] = {f"d{n_levels}": {"type": "integer"}}
    for i in range(n_levels):
        below = {"$ref": f"#/$defs/d{i + 1}"}
        definitions[f"d{i}"] = {"type": "object", "properties": {"a": below, "b": below}, "required": ["a", "b"]}
    return {"$defs": definitions, "type": "object", "properties": {"x": {"$ref": "#/$defs/d0"}}, "required": ["x"]}


SOUND_GRAMMARS = {
    "documented lark": lark('start: "SELECT " COL ("," COL)* [";"]\nCOL: /[a-z_]{1,9}/ // columns\n# end'),
    "imports": lark("%import common.INT\n%import common.WS\n%ignore WS\nstart: INT+"),
    "left recursion": lark('start: start "a" | "b"'),
    "ranges and aliases": lark('?start: digit -> one\ndigit: "0".."9"'),
    "special token as text": lark('start: "<|im_end|>"'),
    "regex": regex(r"(?i)\d{4}-\d{2}/[*?]"),
    "nested quantifiers": schema({**SOUND, "properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}}),
    "long look at the past": schema({**SOUND, "properties": {"a": {"type": "string", "pattern": ".*a.{300}"}}}),
    "counts inside one another": schema(
        {**SOUND, "properties": {"a": {"type": "string", "pattern": r"([a-z]{1,63}\.){1,8}[a-z]{2,63}"}}}
    ),
    "recursion": schema({"type": "object", "properties": {"next": {"$ref": "#"}}}),
    "tree of references": schema(reference_tree(24)),
    "annotations": schema(
        {
            **SOUND,
            "title": "t",
            "default": {},
            "examples": [],
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "unheard-of": 1,
        }
    ),
    "composition": schema({"allOf": [SOUND, {"type": "object", "properties": {"b": {"type": "integer"}}}]}),
}


@pytest.mark.parametrize("name", SOUND_GRAMMARS)
def test_sound_grammars_pass(judge: Judge, name: str) -> None:
    refusal = judge.fault(SOUND_GRAMMARS[name])
    assert refusal is None, refusal.message


REFUSED_LARK = {
    "parentheses": "start: " + "(" * 30_000 + '"a"' + ")" * 30_000,
    "few parentheses, still too many": "start: " + "(" * 200 + '"a"' + ")" * 200,
    "too long": "start: " + '"a" ' * 20_000,
    "a chain of rules": "start: r0\n" + "".join(f"r{i}: r{i + 1}\n" for i in range(4_000)) + 'r4000: "a"',
    "file import": '%import "/etc/passwd" (X)\nstart: X',
    "relative import": "%import ..etc.passwd\nstart: passwd",
    "nothing fits": "start: X\nX: /a/ /b/\nstart: Y",
    "accepts nothing": 'start: start "a"',
    "unknown name": "start: X",
    "no start": 'x: "a"',
    "look-around": "start: /(?=a)b/",
    "lazy": "start: /a*?b/",
    "priority": 'start: A\nA.2: "a"',
    "template": 'start: _sep{A}\n_sep{x}: x\nA: "a"',
    "declare": "%declare A\nstart: A",
    "tilde": 'start: "a"~2..3',
    "control token": "start: <|im_end|>",
    "control token by number": "start: <[2]>",
    "any token": "start: <[*]>",
    "other grammar": "start: @client_0",
    "options": '%llguidance {"no_forcing": true}\nstart: "a"',
    "inline schema": "start: %json {}",
    "rule options": "start: x\nx[max_tokens=3]: /.*/",
    "unclosed string": 'start: "a',
    "doubling": "start: T0\n" + "".join(f"T{i}: T{i + 1} T{i + 1}\n" for i in range(30)) + 'T30: "a"',
}


@pytest.mark.parametrize("name", REFUSED_LARK)
def test_refused_lark(judge: Judge, name: str) -> None:
    refusal = judge.fault(lark(REFUSED_LARK[name]))
    assert refusal is not None
    assert refusal.message.startswith("Invalid lark grammar: ")
    assert refusal.param == PARAM
    assert "llguidance" not in refusal.message.removeprefix("Invalid lark grammar: '%llguidance'")
    assert "\n" not in refusal.message


@pytest.mark.parametrize(
    "definition",
    [
        "(a)" * 50_000,
        "(" * 200 + "a" + ")" * 200,
        "a+?",
        "(?=a)",
        "(a",
        "*a",
        "(a{0,1000}){0,1000}",
        "a\nb",
        NOTHING,
        r"\p{Nothing}",
    ],
)
def test_refused_regex(judge: Judge, definition: str) -> None:
    refusal = judge.fault(regex(definition))
    assert refusal is not None
    assert refusal.message.startswith("Invalid regex grammar: ")
    assert "\n" not in refusal.message


REFUSED_SCHEMAS: dict[str, tuple[Any, str]] = {
    "not": ({**SOUND, "not": {}}, "In context=(), 'not' is not permitted."),
    "deep inside": (
        {"type": "object", "properties": {"x": {"type": "array", "items": {"type": "array", "uniqueItems": True}}}},
        "In context=('properties', 'x', 'items'), 'uniqueItems' is not permitted.",
    ),
    "in a branch": (
        {"type": "object", "properties": {"x": {"anyOf": [{"type": "null"}, {"type": "string", "format": "iri"}]}}},
        "In context=('properties', 'x', 'anyOf', '1'), 'format' is not permitted.",
    ),
    "look-around": (
        {"type": "object", "properties": {"x": {"type": "string", "pattern": "(?=a)b"}}},
        "In context=('properties', 'x'), 'pattern' is not permitted.",
    ),
    "counted to a billion": (
        {"type": "object", "properties": {"x": {"type": "string", "pattern": "((a{0,1000}){0,1000}){0,1000}"}}},
        "In context=('properties', 'x'), 'pattern' is not permitted.",
    ),
    "remote reference": (
        {"type": "object", "properties": {"x": {"$ref": "http://127.0.0.1:9/x"}}},
        "In context=('properties', 'x'), reference can only point to definitions defined at the top level of the schema.",
    ),
    "the engine's own options": (
        {"x-guidance": {"lenient": True}, "type": "object"},
        "In context=(), 'x-guidance' is not permitted.",
    ),
    "deep": (nested(200), "In context=(), 201 levels of nesting exceeds limit of 100."),
}


@pytest.mark.parametrize("name", REFUSED_SCHEMAS)
def test_refused_schemas_say_where(judge: Judge, name: str) -> None:
    given, reason = REFUSED_SCHEMAS[name]
    refusal = judge.fault(schema(given))
    assert isinstance(refusal, InvalidSchema)
    assert refusal.message == f"Invalid schema for response_format 'x': {reason}"


@pytest.mark.parametrize(
    "given",
    [
        {"type": "object", "properties": {"e": {"enum": [f"value {i}" for i in range(100_000)]}}},
        {"allOf": [{"anyOf": [{"type": "object", "properties": {f"{c}{i}": {}}} for c in "ab"]} for i in range(20)]},
        {"type": "object", "properties": {f"p{i}": {"type": "string"} for i in range(5_000)}},
        {"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
    ],
    ids=["enum", "product", "optional properties", "circle"],
)
def test_schemas_beyond_all_measure_are_refused(judge: Judge, given: Any) -> None:
    assert isinstance(judge.fault(schema(given)), InvalidSchema)


def test_the_part_to_blame_is_named(judge: Judge) -> None:
    refusal = judge.fault(schema(SOUND), ClientGrammar(part=Part("lark", "start: ("), param="tools[1]"))
    assert refusal is not None
    assert refusal.param == "tools[1]"


def killer(i: int) -> ClientGrammar:
    """Like `KILLER`, and no two alike."""
    return schema({"type": "object", "properties": {f"a{i}": {"type": "integer", "multipleOf": 99_999_989}}})


KILLER = killer(0)
"""Outlasts a deadline of half a second, so it costs a process."""


def test_past_the_deadline_a_grammar_is_too_complex_and_the_next_one_is_judged() -> None:
    async def run() -> None:
        checks = GrammarChecks(deadline_s=0.5)
        slow = schema({"type": "object", "properties": {"a": {"type": "integer", "multipleOf": 99_999_989}}})
        with pytest.raises(InvalidRequest, match="too complex"):
            await checks.check((schema(SOUND), slow), PROJECT)
        await checks.check((schema(SOUND),), PROJECT)
        await checks.close()

    asyncio.run(run())


def test_a_busy_machine_makes_no_grammar_too_complex(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trier, "_PATIENCE", 100)  # this machine may be busy, too

    async def run() -> None:
        checks = GrammarChecks(deadline_s=0.5)
        await checks.check((lark('start: "a"'),), PROJECT)
        process = psutil.Process(checks.pid)
        assert process.nice() >= NICENESS
        process.suspend()  # as if it got no processor
        trial = asyncio.create_task(checks.check((schema(SOUND),), PROJECT))
        await asyncio.sleep(0.6)
        process.resume()
        await trial
        await checks.close()

    asyncio.run(run())


def test_a_process_that_was_killed_while_idle_is_replaced() -> None:
    async def run() -> None:
        checks = GrammarChecks()
        await checks.check((lark('start: "a"'),), PROJECT)
        first = checks.pid
        assert first is not None
        process = psutil.Process(first)
        process.kill()
        process.wait()
        await checks.check((lark('start: "b"'),), PROJECT)
        assert checks.pid not in (None, first)
        await checks.close()

    asyncio.run(run())


def is_running(checks: GrammarChecks) -> bool:
    return checks.pid is not None


async def times_out(checks: GrammarChecks, *clients: ClientGrammar, project: str = PROJECT) -> None:
    with pytest.raises(InvalidRequest, match="too complex"):
        await checks.check(clients, project)


def test_what_is_known_is_not_tried_again_whether_sound_or_not() -> None:
    async def run() -> None:
        checks = GrammarChecks(deadline_s=0.5)
        await checks.check((schema(SOUND),), PROJECT)
        assert is_running(checks)
        await asyncio.gather(*(times_out(checks, KILLER) for _ in range(50)))
        await times_out(checks, KILLER)
        assert not is_running(checks), "a process was started for what is known"
        await checks.check((schema(SOUND),), PROJECT)
        with pytest.raises(InvalidRequest, match="accepts nothing"):
            await checks.check((regex(NOTHING),), PROJECT)
        used = checks.pid
        psutil.Process(used).suspend()
        with pytest.raises(InvalidRequest, match="accepts nothing"):
            await checks.check((regex(NOTHING),), PROJECT)
        await checks.close()

    asyncio.run(run())


def test_a_project_does_not_wait_for_all_that_another_has_asked() -> None:
    async def run() -> None:
        checks = GrammarChecks(deadline_s=0.5)
        hostile = [asyncio.create_task(times_out(checks, killer(i))) for i in range(4)]
        await asyncio.sleep(0)
        await checks.check((schema(SOUND),), "others")
        assert not hostile[-1].done()
        await asyncio.gather(*hostile)
        await checks.close()

    asyncio.run(run())


def test_who_waits_too_long_for_a_turn_is_told_that_the_server_is_overloaded() -> None:
    async def run() -> None:
        checks = GrammarChecks(deadline_s=0.5, patience_s=0.05)
        hostile = asyncio.create_task(times_out(checks, KILLER))
        await until(lambda: is_running(checks))
        with pytest.raises(Overloaded):
            await checks.check((schema(SOUND),), "others")
        await hostile
        await checks.check((schema(SOUND),), "others")
        await checks.close()

    asyncio.run(run())


def test_who_leaves_while_waiting_or_being_served_leaves_no_turn_behind() -> None:
    async def run() -> None:
        checks = GrammarChecks(deadline_s=0.5)
        asking = [asyncio.create_task(times_out(checks, killer(i))) for i in range(3)]
        await until(lambda: is_running(checks))
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        await checks.check((schema(SOUND),), PROJECT)
        await checks.close()

    asyncio.run(run())


def test_of_many_parts_the_one_that_kills_is_blamed_within_one_deadline() -> None:
    async def run() -> None:
        checks = GrammarChecks(deadline_s=0.5)
        with pytest.raises(InvalidRequest) as refused:
            await checks.check((*[schema(SOUND)] * 60, replace(KILLER, param="the killer"), *[KILLER] * 60), PROJECT)
        assert refused.value.param == "the killer"
        await checks.close()

    asyncio.run(run())


def wish(given: Any, param: str) -> ClientGrammar:
    return ClientGrammar(part=Part("loose_schema", json.dumps(given)), param=param, subject="function 'f'")


LOOSE: dict[str, dict[str, Any]] = {
    "sound": SOUND,
    "what cannot be enforced is let go": {
        **SOUND,
        "if": {},
        "properties": {"a": {"type": "array", "uniqueItems": True}},
    },
    "an unknown format": {**SOUND, "properties": {"a": {"type": "string", "format": "postcode"}}},
    "one of": {"type": "object", "oneOf": [SOUND, {"type": "object", "properties": {"b": {"type": "integer"}}}]},
}
HOPELESS: dict[str, dict[str, Any]] = {
    "a lookahead": {"type": "object", "properties": {"a": {"type": "string", "pattern": "(?=x)"}}},
    "an unknown type": {"type": "object", "properties": {"a": {"type": "text"}}},
    "a remote reference": {"type": "object", "properties": {"a": {"$ref": "https://example.org/a"}}},
    "nothing fits": {"type": "object", "properties": {"a": False}, "required": ["a"]},
    "deep": json.loads(nested(150)),
    "broken": {"type": "object", "properties": 3, "required": "a"},
}


def test_wishes_are_granted_or_not_but_never_refused(judge: Judge) -> None:
    wishes = [wish(given, name) for name, given in {**LOOSE, **HOPELESS}.items()]
    assert judge.granted(schema(SOUND), *wishes) == LOOSE.keys()


def test_a_wish_that_kills_leaves_the_demands_judged() -> None:
    """What was not tried any more is not granted this time."""
    slow = wish(json.loads(KILLER.part.source), "slow")

    async def run() -> frozenset[str]:
        checks = GrammarChecks(deadline_s=0.5)
        try:
            return await checks.check((schema(SOUND), wish(SOUND, "before"), slow, wish(SOUND, "after")), PROJECT)
        finally:
            await checks.close()

    assert asyncio.run(run()) == {"before"}


def test_a_wish_does_not_wait_for_long_and_is_not_overloaded() -> None:
    async def run() -> None:
        checks = GrammarChecks(deadline_s=0.5, patience_s=0.05)
        hostile = asyncio.create_task(times_out(checks, KILLER))
        await until(lambda: is_running(checks))
        assert await checks.check((wish(SOUND, "w"),), "others") == frozenset()
        await hostile
        await checks.close()

    asyncio.run(run())


def test_a_whole_that_is_too_large_does_not_fit(judge: Judge) -> None:
    large = " | ".join(f"/a{{{i}}}(b|c)*d/" for i in range(1, 3000))
    assert judge.fits(GrammarSpec('start: "a"', has_client_rules=False))
    assert not judge.fits(GrammarSpec(f"start: {large}", has_client_rules=True))
