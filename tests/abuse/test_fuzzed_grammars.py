"""Random schemas and grammars: each is refused with 400, or holds its answer to what it says. Nothing else happens."""

from __future__ import annotations

import json
import random
import string
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from tests.abuse.clients import custom, response_format
from tests.abuse.invariants import Abuse
from tests.abuse.served import Served
from tests.support import raw

VALIDATOR = jsonschema.Draft202012Validator
MAX_KEPT_BYTES = 100 * 2**20
HOSTILE_WORDS = ("", "a", "<|im_end|>", '"}', "\0", "\u202e", "\U0001f40b", "$ref", "x" * 300, "</tool_call>")
PATTERNS = ("^a*$", "a{3}", "(a|b)+c?", ".", "[^a]{2,3}", r"\d+", "(", "(?=a)", r"\u0000", "^(a+)+$")
PIECES = {
    "lark": (
        "start: ", "a: ", "B: ", "a ", "B ", '"x" ', "/y+/ ", '/"+/ ', "| ", "( ", ") ", "* ", "+ ", "? ", "\n", "{2,3} ",
        "%ignore B\n", "%import common.INT\n", "INT ", '"<|im_end|>" ', "~", "// c\n", "{", '"',
    ),
    "regex": (
        "a", "b*", "(", ")", "[", "]", "^", "$", "{2}", "{0,30}", "|", ".", r"\d", r"\p{L}", "?", "+", "-", '"', "(?i)",
        "/", "\\",
    ),
}  # fmt: skip


def schema(random_: random.Random, depth: int = 0) -> Any:  # noqa: PLR0911 - one for each kind
    """Of the strict subset more often than not."""
    kind = random_.choice(("string", "integer", "boolean", "null", "enum", "object", "array", "anyOf", "odd", "ref"))
    match "boolean" if depth > 3 and kind in {"object", "array", "anyOf"} else kind:
        case "string":
            keyword = random_.choice(("pattern", "format"))
            values = PATTERNS if keyword == "pattern" else ("date", "uuid", "ipv4", "iri", "email", "")
            return {"type": "string", keyword: random_.choice(values)}
        case "integer":
            keyword = random_.choice(("minimum", "maximum", "multipleOf", "exclusiveMinimum"))
            return {"type": "integer", keyword: random_.choice((0, 1, -1, 7, 10**30, 0.5, 1e300, "1"))}
        case "enum":
            return {"type": "string", "enum": random_.choices(HOSTILE_WORDS, k=random_.randrange(4))}
        case "object":
            return closed(random_, depth)
        case "array":
            return {
                "type": "array",
                "items": schema(random_, depth + 1),
                "minItems": random_.randrange(3),
                "maxItems": 3,
            }
        case "anyOf":
            return {"anyOf": [schema(random_, depth + 1) for _ in range(random_.randrange(4))]}
        case "odd":
            keyword = random_.choice(
                ("not", "allOf", "if", "minLength", "uniqueItems", "x-guidance", "type", "properties")
            )
            return {"type": "string", keyword: random_.choice((1, {}, [], "x", None, {"a": 1}))}
        case "ref":
            return {"$ref": random_.choice(("#", "#/$defs/a", "#/$defs/none", "file:///etc/passwd", "#/properties/a"))}
        case simple:
            return {"type": simple}


def closed(random_: random.Random, depth: int = 0) -> dict[str, Any]:
    names = random_.sample((*HOSTILE_WORDS, *"bcdefg"), k=random_.randrange(1, 4))
    properties = {name: schema(random_, depth + 1) for name in names}
    return {"type": "object", "properties": properties, "required": names, "additionalProperties": False}


def text(random_: random.Random, syntax: str) -> str:
    """Pieces of the language, with noise among them."""
    start = "start: " if syntax == "lark" else ""
    noise = random_.choices(string.printable, k=random_.randrange(2))
    return start + "".join(random_.choices(PIECES[syntax], k=random_.randrange(1, 12)) + noise)


@pytest.fixture
def fuzzed(tiny_server: Served) -> Iterator[Abuse]:
    """The latest grammars are kept, up to a bound: for other rows a server is warm only after these."""
    engine, held_bytes = tiny_server.engine, tiny_server.when_warm["engine"].resident_bytes
    yield Abuse(tiny_server)
    tiny_server.settle()
    assert tiny_server.engine == engine, "a grammar cost the engine"
    assert tiny_server.when_warm["engine"].resident_bytes - held_bytes < MAX_KEPT_BYTES
    assert not tiny_server.log_lines(level="error")


@pytest.mark.parametrize("n", [60, pytest.param(1500, marks=[pytest.mark.large, pytest.mark.timeout(1200)])])
def test_random_schemas_are_refused_or_enforced(fuzzed: Abuse, n: int) -> None:
    random_ = random.Random(f"schemas {n}")  # noqa: S311 - the same ones every time
    n_enforced = 0
    for i in range(n):
        wanted = {**closed(random_), "$defs": {"a": schema(random_, 3)}}
        strict = random_.random() < 0.7
        reply = fuzzed.create(response_format=response_format(wanted, strict=strict), max_completion_tokens=300, seed=i)
        assert reply.status in {200, 400}, (wanted, reply)
        if reply.status == 400:
            assert reply.error["message"].startswith("Invalid schema for response_format 'x': "), reply
            continue
        (choice,) = raw.json_of(reply)["choices"]
        if choice["finish_reason"] == "stop":
            answer = json.loads(choice["message"]["content"])
            if strict:
                n_enforced += 1
                VALIDATOR(wanted).validate(answer)  # not the schema: an unused definition of it may be broken
    assert n_enforced > n // 50


@pytest.mark.parametrize("n", [60, pytest.param(1500, marks=[pytest.mark.large, pytest.mark.timeout(1200)])])
def test_random_grammars_are_refused_or_enforced(fuzzed: Abuse, n: int) -> None:
    random_ = random.Random(f"grammars {n}")  # noqa: S311 - the same ones every time
    n_good = 0
    for i in range(n):
        syntax = random_.choice(("lark", "regex"))
        tools = [custom(syntax, definition := text(random_, syntax))]
        reply = fuzzed.create(tools=tools, tool_choice="required", max_completion_tokens=100, seed=i)
        assert reply.status in {200, 400}, (definition, reply)
        if reply.status == 200:
            n_good += 1
            assert raw.json_of(reply)["choices"][0]["finish_reason"] in {"length", "tool_calls"}
        else:
            assert reply.error["message"].startswith(f"Invalid {syntax} grammar: "), reply
            assert reply.error["param"] == "tools[0].custom.format.grammar.definition"
    assert 0 < n_good < n
