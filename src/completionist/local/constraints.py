"""What a request demands of its answer: what may be called, the schema of its text, and which parts of it a client wrote."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from completionist.dialects.offer import legacy_offer, loose_schema, offer_of
from completionist.grammar.check import ClientGrammar
from completionist.grammar.forms import Offer
from completionist.grammar.frames import Part
from completionist.types.formats import JSONObjectResponse, JSONSchemaFormat, JSONSchemaResponse
from completionist.types.request import ChatRequest
from completionist.types.tools import (
    FunctionDefinition,
    FunctionTool,
    GrammarFormat,
    Named,
    NamedCustom,
    NamedFunction,
    Tool,
)

MAX_CHARACTERS = 2**20
"""Of all grammars of a request. The subset of section 7 has room for a third of this in one schema, beside descriptions."""

_OBJECT: Mapping[str, Any] = {"type": "object"}


def offer_in(request: ChatRequest, granted: Container[str] = frozenset()) -> Offer | None:
    """What may be called; None: nothing. `granted` as for `dialects.offer`."""
    if request.functions:
        return legacy_offer(request.functions, request.function_call, granted=granted)
    is_parallel = request.parallel_tool_calls is not False
    return offer_of(request.tools or (), request.tool_choice, is_parallel=is_parallel, granted=granted)


def is_forced_by_name(request: ChatRequest) -> bool:
    """Such a call finishes with `stop` (contract 4.3)."""
    return isinstance(request.tool_choice, NamedFunction | NamedCustom) or isinstance(request.function_call, Named)


def tools_of(request: ChatRequest) -> Sequence[Tool | FunctionDefinition]:
    return request.tools or request.functions or ()


def schema_of(request: ChatRequest) -> Mapping[str, Any] | None:
    """The schema that the visible text must fit; JSON mode takes any object (contract 7.5)."""
    match request.response_format:
        case JSONSchemaResponse(json_schema=sent):
            return _rooted(sent)
        case JSONObjectResponse():
            return _OBJECT
        case _:
            return None


def _rooted(sent: JSONSchemaFormat) -> Mapping[str, Any]:
    """The answer is an object, whether or not a schema that is not strict says so."""
    return {**(sent.schema or {}), **_OBJECT}


def client_grammars(request: ChatRequest) -> tuple[ClientGrammar, ...]:
    """Every schema and grammar that must be enforced if it is called upon, in the order of the fields (contract 2.3); then
    those that are only wished for. Time in proportion to them. Together they are not longer than any compiler should
    see: wishes that would make them so are left out. Raises `InvalidRequest` where the others do."""
    sent = [
        *_function_grammars(request.functions or ()),
        *_tool_grammars(request.tools or ()),
        *_format_grammars(request),
    ]
    clients: list[ClientGrammar] = []
    n_characters = 0
    for client in sorted(sent, key=lambda client: client.is_wish):
        n_characters += len(client.part.source)
        if n_characters <= MAX_CHARACTERS:
            clients.append(client)
        elif not client.is_wish:
            raise client.refusal(f"the schemas and grammars of a request exceed {MAX_CHARACTERS} characters together.")
    return tuple(clients)


def _function_grammars(functions: Sequence[FunctionDefinition]) -> Iterator[ClientGrammar]:
    for i, function in enumerate(functions):
        yield from _parameters(function, f"functions[{i}].parameters")


def _parameters(function: FunctionDefinition, param: str) -> Iterator[ClientGrammar]:
    if function.parameters is None:
        return
    if function.strict:
        part = _schema_part(function.parameters, is_strict=True)
    else:
        part = Part("loose_schema", loose_schema(function.parameters))
    code = "invalid_function_parameters"
    yield ClientGrammar(part=part, param=param, subject=f"function '{function.name}'", code=code)


def _tool_grammars(tools: Sequence[Tool]) -> Iterator[ClientGrammar]:
    for i, tool in enumerate(tools):
        if isinstance(tool, FunctionTool):
            yield from _parameters(tool.function, f"tools[{i}].function.parameters")
        elif isinstance(tool.custom.format, GrammarFormat):
            grammar = tool.custom.format.grammar
            param = f"tools[{i}].custom.format.grammar.definition"
            yield ClientGrammar(part=Part(grammar.syntax, grammar.definition), param=param)


def _format_grammars(request: ChatRequest) -> Iterator[ClientGrammar]:
    if isinstance(request.response_format, JSONSchemaResponse):
        sent = request.response_format.json_schema
        yield ClientGrammar(
            part=_schema_part(_rooted(sent), is_strict=sent.strict is True),
            param="response_format",
            subject=f"response_format '{sent.name}'",
        )


def _schema_part(schema: Mapping[str, Any], *, is_strict: bool) -> Part:
    return Part("strict_schema" if is_strict else "schema", msgspec.json.encode(schema).decode())


def without_tools(request: ChatRequest) -> ChatRequest:
    """The same conversation, with nothing to call."""
    return msgspec.structs.replace(
        request, tools=None, tool_choice=None, parallel_tool_calls=None, functions=None, function_call=None
    )
