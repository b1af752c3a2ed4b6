"""Trying a client's grammars: does each compile, does it accept anything, and if not, which part of it is to blame.

This is the work of a process of its own (`grammar.checker`), for the compiler is native code and has died before. A trial
uses a vocabulary of single bytes: what compiles with it compiles with any.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from llguidance import LLMatcher, LLTokenizer

from completionist.engine.base import GrammarSpec
from completionist.grammar.bounds import parser_limits
from completionist.grammar.frames import TOO_COMPLEX, Check, Fault, Part, Verdict
from completionist.grammar.lark import OPTIONS_KEY, json_value, regex
from completionist.grammar.limits import expression_fault, lark_fault, regex_fault
from completionist.grammar.strict import NOT_AT_TOP, find_fault
from completionist.types.schemas import Path, Schema, context, nesting, subschemas

_MAX_TRIALS = 300
_MAX_LEVELS = 100
"""Of JSON inside a schema; the compiler's own limit is a little above."""
_N_STEPS = 8
_SHARED = ("$defs", "definitions")
_MAX_REASON_CHARACTERS = 160
_PLACE = re.compile(r"^at \d+\(\d+\): (?:invalid regex .*? \(in regex\): )?")


class Trials:
    """Compiles grammars to see what happens."""

    def __init__(self) -> None:
        self._tokenizer = LLTokenizer("byte")

    def verdict(self, check: Check, began: Callable[[int], None]) -> Verdict:
        """With the first fault of a part that must be taken. `began` is told which part is tried before it is."""
        unusable: list[int] = []
        for i, part in enumerate(check.parts):
            began(i)
            reason = self._part_fault(part)
            if reason and part.kind == "loose_schema":
                unusable.append(i)
            elif reason:
                return Verdict(Fault(i, reason))
        if check.whole is not None and self._error(check.whole):
            return Verdict(Fault(0, TOO_COMPLEX))
        return Verdict(unusable=tuple(unusable))

    def _part_fault(self, part: Part) -> str | None:
        match part.kind:
            case "loose_schema":
                return self._loose_fault(json.loads(part.source))
            case "schema":
                return self._schema_fault(json.loads(part.source))
            case "strict_schema":
                schema = json.loads(part.source)
                return find_fault(schema) or self._schema_fault(schema)
            case "lark":
                return lark_fault(part.source) or self._error(_rules(part.source))
            case "regex":
                return regex_fault(part.source) or self._regex_error(part.source)

    def _regex_error(self, definition: str) -> str | None:
        """A place in the rule that we wrote around it would tell the client nothing."""
        error = self._error(_rules(f"start: {regex(definition)}"))
        return error and _PLACE.sub("", error)

    def _loose_fault(self, schema: Schema) -> str | None:
        if nesting(schema) > _MAX_LEVELS or _costly_pattern(schema) is not None:
            return TOO_COMPLEX
        return self._error(GrammarSpec(f"start: {json_value(schema, is_loose=True)}", has_client_rules=False))

    def _schema_fault(self, schema: Schema) -> str | None:
        return _SchemaTrial(self, schema).fault()

    def compiles(self, schema: Schema) -> bool:
        return self._error(GrammarSpec(f"start: {json_value(schema)}", has_client_rules=False)) is None

    def _error(self, spec: GrammarSpec) -> str | None:
        """Compiles, then takes some steps: much shows only when the first characters are to be chosen."""
        matcher = LLMatcher(self._tokenizer, spec.source, log_level=0, limits=parser_limits(spec))
        for _ in range(_N_STEPS):
            if matcher.is_error() or matcher.is_stopped():
                break
            allowed = _first_bit(matcher.compute_bitmask())
            if allowed is not None and not matcher.is_error():
                matcher.consume_token(allowed)
        return _told(matcher.get_error()) if matcher.is_error() else None


def _rules(lark: str) -> GrammarSpec:
    return GrammarSpec(lark, has_client_rules=True)


def _first_bit(mask: bytes) -> int | None:
    bits = int.from_bytes(mask, "little")
    return (bits & -bits).bit_length() - 1 if bits else None


def _told(error: str) -> str:
    """What the compiler says, without the excerpts that it adds; a mask that nothing fits is an error of its own."""
    lines = error.splitlines()
    if lines[0].startswith("NoExtension"):
        return "it accepts nothing"
    if fault := next((line.removeprefix("error: ") for line in lines if line.startswith("error: ")), None):
        return f"{lines[0].partition(': ')[0]}: {fault}"[:_MAX_REASON_CHARACTERS]  # of an expression
    return lines[0].strip()[:_MAX_REASON_CHARACTERS]


class _SchemaTrial:
    """Looks for the keyword that makes a schema impossible: down into the first child that fails by itself, then at the
    keywords of the schema whose children are all sound."""

    def __init__(self, trials: Trials, root: Schema) -> None:
        self._trials = trials
        self._root = root
        self._n_trials = 0

    def fault(self) -> str | None:
        if OPTIONS_KEY in self._root:
            return f"{context(())}'{OPTIONS_KEY}' is not permitted."
        n_levels = nesting(self._root)
        if n_levels > _MAX_LEVELS:
            return f"{context(())}{n_levels} levels of nesting exceeds limit of {_MAX_LEVELS}."
        if (path := _costly_pattern(self._root)) is not None:
            return f"{context(path)}'pattern' is not permitted."
        return None if self._compiles(self._root) else self._blame((), self._root)

    def _blame(self, path: Path, node: Schema) -> str:
        for steps, child in children(node):
            if not self._compiles(child):
                return self._blame((*path, *steps), child)
        for keyword in node:
            if keyword not in _SHARED and self._compiles({key: node[key] for key in node if key != keyword}):
                tail = NOT_AT_TOP if keyword == "$ref" else f"'{keyword[:64]}' is not permitted."
                return context(path) + tail
        return f"{context(path)}schema is not supported."

    def _compiles(self, node: Schema) -> bool:
        """By itself, with the definitions that it may refer to. When the trials are used up nothing more is blamed."""
        self._n_trials += 1
        shared: Mapping[str, Any] = {key: self._root[key] for key in _SHARED if key in self._root}
        return self._n_trials > _MAX_TRIALS or self._trials.compiles({**shared, **node})


def _costly_pattern(schema: Schema) -> Path | None:
    """Where a pattern stands that the grammar engine should not see."""
    for path, node in subschemas(schema):
        if isinstance(expression := node.get("pattern"), str) and expression_fault(expression):
            return path
    return None


def children(node: Schema) -> Iterator[tuple[Path, Schema]]:
    """The schemas directly inside `node`, with the steps that lead to them."""
    last: Path | None = None
    for path, inner in subschemas(node):
        if path and (last is None or path[: len(last)] != last):
            last = path
            if path[0] not in _SHARED:
                yield path, inner
