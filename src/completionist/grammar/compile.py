"""What an answer may look like, as one grammar from its first token to its last.

    start: thinking? answer
    answer: text or a document of the response format | calls

`auto` leaves text free up to the marker of a form; from there on only a call can follow. `required` has no text at all.
The result is text: it is compiled in other processes (`grammar.checker`, the engine worker).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from completionist.engine.base import GrammarSpec
from completionist.grammar.forms import (
    INPUT_CLOSING,
    INPUT_KEY,
    INPUT_OPENING,
    AnyArguments,
    Callable,
    Form,
    FreeInput,
    GrammarInput,
    LooseArguments,
    NoArguments,
    Offer,
    StrictArguments,
)
from completionist.grammar.lark import ANY_TEXT, NO_FORCING, json_value, literal, pattern, regex
from completionist.text.channels import Thinking, is_control

ThinkingState = Literal["open", "possible", "closed"]
"""When the answer begins the model is thinking already, may begin to, or may not."""

_ANY_OBJECT: Mapping[str, Any] = {"type": "object"}
_EMPTY_OBJECT: Mapping[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}
_INPUT_OBJECT: Mapping[str, Any] = {
    "type": "object",
    "properties": {INPUT_KEY: {"type": "string"}},
    "required": [INPUT_KEY],
    "additionalProperties": False,
}


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """How a dialect writes answers: the part of it that grammars need. `forms` begins with the one we force."""

    forms: tuple[Form, ...]
    thinking: Thinking | None = None
    content_opening: str = ""
    """Written before visible text."""


def answer_grammar(
    layout: Layout,
    control_ids: Mapping[str, int],
    *,
    offer: Offer | None,
    schema: Mapping[str, Any] | None,
    thinking: ThinkingState,
) -> GrammarSpec | None:
    """None where nothing is constrained. Where every message has a header, the one of visible text is written for a model
    that is not to think.

    `schema` is that of the visible text, `{"type": "object"}` for JSON mode. Raises `UnknownControlToken`.
    """
    is_header_forced = bool(layout.content_opening) and thinking == "closed"
    if offer is None and schema is None and not is_header_forced:
        return None
    writer = _Writer(layout, control_ids, offer, schema)
    return writer.write(thinking)


class _Writer:
    def __init__(
        self, layout: Layout, control_ids: Mapping[str, int], offer: Offer | None, schema: Mapping[str, Any] | None
    ) -> None:
        self._layout = layout
        self._ids = control_ids
        self._offer = offer
        self._schema = schema
        self._lines: list[str] = []
        self._clients: list[dict[str, str]] = []

    def write(self, thinking: ThinkingState) -> GrammarSpec:
        self._rule("start", f"{self._thinking(thinking)} answer")
        self._rule("answer", " | ".join(self._answers()))
        self._rule("TEXT", ANY_TEXT)
        main = {"lark_grammar": "\n".join([*([NO_FORCING] if self._clients else []), *self._lines])}
        source = msgspec.json.encode({"grammars": [main, *self._clients]}).decode()
        return GrammarSpec(source, has_client_rules=bool(self._clients))

    def _thinking(self, state: ThinkingState) -> str:
        thinking = self._layout.thinking
        if thinking is None or state == "closed":
            return ""
        if is_control(thinking.closing):
            self._rule("thought", f"TEXT {self._literal(thinking.closing)}")
        else:
            self._rule("thought[lazy]", f"TEXT {self._literal(thinking.closing)}")
        self._rule("BLANKS", "/[ \\n]{1,4}/")
        if state == "open":
            return "thought BLANKS?"
        return f"({self._literal(thinking.opening)} thought BLANKS?)?"

    def _answers(self) -> Iterator[str]:
        is_free = self._offer is not None and not self._offer.is_required and self._schema is None
        is_free = is_free and not self._layout.content_opening  # else the first token tells
        if self._offer is None or not self._offer.is_required:
            opening = self._literal(self._layout.content_opening)
            yield f"{opening} {'TEXT' if self._schema is None else json_value(self._schema)}"
        if self._offer is None:
            return
        for i, form in enumerate(self._forms(self._offer, is_free=is_free)):
            yield from self._calls(f"f{i}", form, self._offer, is_free=is_free)

    def _forms(self, offer: Offer, *, is_free: bool) -> Sequence[Form]:
        """Beside a document only a marker tells a call at its first token; what is forced needs but one form."""
        if is_free:
            return self._layout.forms
        if offer.is_required:
            return self._layout.forms[:1]
        return [form for form in self._layout.forms if form.marker or self._layout.content_opening][:1]

    def _calls(self, prefix: str, form: Form, offer: Offer, *, is_free: bool) -> Iterator[str]:
        body, rest = f"{prefix}_body", self._rest(prefix, form, offer)
        self._rule(body, " | ".join(f"{prefix}_{j}" for j in range(len(offer.callables))))
        for j, tool in enumerate(offer.callables):
            self._rule(f"{prefix}_{j}", f"{self._literal(tool.name + form.middle)} {self._tail(prefix, form, tool, j)}")
        calls = f"({body} {rest} | {prefix}_open)" if any(map(_is_raw, offer.callables)) else f"{body} {rest}"
        if not is_free:
            yield f"{self._literal(form.head)} {calls}"
        elif form.marker:
            yield f"{self._trigger(prefix, form.marker)} {self._literal(form.head[len(form.marker) :])} {calls}"
        else:
            for j, tool in enumerate(offer.callables):
                named = self._named(prefix, form, tool, j)
                yield f"{named} {self._tail(prefix, form, tool, j)} {rest}"
                if _is_raw(tool):
                    yield f"{named} {self._arguments(tool, j)}"

    def _rest(self, prefix: str, form: Form, offer: Offer) -> str:
        """What may follow a call that is closed: more of them, and the end.

        A client's last terminal may swallow what closes it, so that the grammar never sees it: so its call, if it is the last
        one, need not be closed.
        """
        n_more = min(form.max_calls, offer.max_calls) - 1
        again, end = self._literal(form.separator + form.opening), self._literal(form.section_closing)
        raw = [(j, tool) for j, tool in enumerate(offer.callables) if _is_raw(tool)]
        if raw:
            opened = (f"{self._literal(tool.name + form.middle)} {self._arguments(tool, j)}" for j, tool in raw)
            self._rule(f"{prefix}_open", " | ".join(opened))
        if not n_more:
            return end
        closed = f"({again} {prefix}_body)"
        if not raw:
            return f"{closed}{{0,{n_more}}} {end}"
        return f"({closed}{{0,{n_more}}} {end} | {closed}{{0,{n_more - 1}}} {again} {prefix}_open)"

    def _trigger(self, prefix: str, marker: str) -> str:
        """Free text up to the marker, the marker included."""
        if is_control(marker):
            return f"TEXT {self._literal(marker)}"
        self._rule(f"{prefix}_marker[lazy]", f"TEXT {self._literal(marker)}")
        return f"{prefix}_marker"

    def _named(self, prefix: str, form: Form, tool: Callable, j: int) -> str:
        """Free text up to the name of this tool, where a call of it would have it, and on to its arguments."""
        start = form.middle[0]  # so that no name is taken for another one that begins with it
        self._rule(f"{prefix}_named_{j}[lazy]", f"TEXT /{pattern(form.head)}{tool.name}{pattern(start)}/")
        return f"{prefix}_named_{j} {self._literal(form.middle[1:])}"

    def _tail(self, prefix: str, form: Form, tool: Callable, j: int) -> str:
        """Arguments and what closes them; written once, however often it is used."""
        name = f"{prefix}_tail_{j}"
        if not any(line.startswith(f"{name}:") for line in self._lines):
            closing = INPUT_CLOSING + form.closing if _is_raw(tool) else form.closing
            self._rule(name, f"{self._arguments(tool, j)} {self._literal(closing)}")
        return name

    def _arguments(self, tool: Callable, j: int) -> str:
        match tool.takes:
            case StrictArguments(schema):
                return json_value(msgspec.json.decode(schema))
            case LooseArguments(schema):
                return json_value(msgspec.json.decode(schema), is_loose=True)
            case AnyArguments():
                return json_value(_ANY_OBJECT)
            case NoArguments():
                return json_value(_EMPTY_OBJECT)
            case FreeInput():
                return json_value(_INPUT_OBJECT)
            case GrammarInput() as given:
                return f"{self._literal(INPUT_OPENING)} {self._client(given, j)}"

    def _client(self, given: GrammarInput, j: int) -> str:
        """A client's grammar stands apart, so that its rules and what it ignores stay its own."""
        name = f"client_{j}"
        if all(client["name"] != name for client in self._clients):
            self._clients.append({"name": name, "lark_grammar": client_lark(given)})
        return f"@{name}"

    def _literal(self, text: str) -> str:
        return literal(text, self._ids)

    def _rule(self, name: str, body: str) -> None:
        self._lines.append(f"{name}: {body}")


def _is_raw(tool: Callable) -> bool:
    return isinstance(tool.takes, GrammarInput)


def client_lark(given: GrammarInput) -> str:
    return given.definition if given.syntax == "lark" else f"start: {regex(given.definition)}"
