"""Tools, the choice among them, and calls in the history (contract, sections 3.3, 4.1, 4.2, 4.4, 4.5)."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from completionist.errors import MissingParameter
from completionist.types.metaschema import check_schema
from completionist.types.readers import (
    BOOLEAN,
    FREE_TEXT,
    NAME,
    TEXT,
    Array,
    Nullable,
    Object,
    OneOf,
    Reader,
    StringOr,
    Tagged,
    Text,
    Value,
    ignored,
    optional,
    required,
)
from completionist.types.schemas import SCHEMA, Schema

MAX_TOOLS = 128
MAX_CALL_ID_CHARACTERS = 40


Reference = tuple[Literal["function", "custom"], str]
"""What tells tools apart: kind and name."""


class FunctionDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """`parameters` None: the function takes none. `strict` None: false."""

    name: str
    description: str | None = None
    parameters: Schema | None = None
    strict: bool | None = None

    @property
    def reference(self) -> Reference:
        return "function", self.name


class FunctionTool(msgspec.Struct, frozen=True, kw_only=True):
    type: Literal["function"] = "function"
    function: FunctionDefinition

    @property
    def reference(self) -> Reference:
        return self.function.reference


class Grammar(msgspec.Struct, frozen=True, kw_only=True):
    syntax: Literal["lark", "regex"]
    definition: str


class TextFormat(msgspec.Struct, frozen=True, kw_only=True):
    type: Literal["text"] = "text"


class GrammarFormat(msgspec.Struct, frozen=True, kw_only=True):
    type: Literal["grammar"] = "grammar"
    grammar: Grammar


class CustomDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """`format` None: free text."""

    name: str
    description: str | None = None
    format: TextFormat | GrammarFormat | None = None


class CustomTool(msgspec.Struct, frozen=True, kw_only=True):
    type: Literal["custom"] = "custom"
    custom: CustomDefinition

    @property
    def reference(self) -> Reference:
        return "custom", self.custom.name


Tool = FunctionTool | CustomTool


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """By name only; on its own, the deprecated choice of a function."""

    name: str

    @property
    def references(self) -> tuple[Reference, ...]:
        return (("function", self.name),)


class NamedFunction(msgspec.Struct, frozen=True, kw_only=True):
    type: Literal["function"] = "function"
    function: Named

    @property
    def references(self) -> tuple[Reference, ...]:
        return self.function.references


class NamedCustom(msgspec.Struct, frozen=True, kw_only=True):
    type: Literal["custom"] = "custom"
    custom: Named

    @property
    def references(self) -> tuple[Reference, ...]:
        return (("custom", self.custom.name),)


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    mode: Literal["auto", "required"]
    tools: tuple[NamedFunction | NamedCustom, ...]


class AllowedTools(msgspec.Struct, frozen=True, kw_only=True):
    type: Literal["allowed_tools"] = "allowed_tools"
    allowed_tools: Allowance

    @property
    def references(self) -> tuple[Reference, ...]:
        return tuple(reference for tool in self.allowed_tools.tools for reference in tool.references)


ToolChoice = Literal["none", "auto", "required"] | NamedFunction | NamedCustom | AllowedTools
FunctionCallChoice = Literal["none", "auto"] | Named


class CalledFunction(msgspec.Struct, frozen=True, kw_only=True):
    """`arguments` as the model wrote them, JSON or not."""

    name: str
    arguments: str


class CalledCustom(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    input: str


class FunctionToolCall(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class CustomToolCall(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    type: Literal["custom"] = "custom"
    custom: CalledCustom


ToolCall = FunctionToolCall | CustomToolCall


class _FunctionReader(Object[FunctionDefinition]):
    """The schema is judged last: its refusals name the function."""

    def read(self, value: Value, at: str) -> FunctionDefinition:
        function = super().read(value, at)
        check_schema(
            function.parameters,
            param=f"{at}.parameters",
            subject=f"function '{function.name}'",
            code="invalid_function_parameters",
            is_strict=function.strict is True,
        )
        return function


class _ToolChoiceReader(Tagged[NamedFunction | NamedCustom | AllowedTools]):
    """An object that lacks what its type needs is told so first; an unknown type needs `function` (section 4.4)."""

    def read(self, value: Value, at: str) -> NamedFunction | NamedCustom | AllowedTools:
        kind = value.get("type")
        need = kind if kind in ("custom", "allowed_tools") else "function"
        if need not in value:
            raise MissingParameter(f"{at}.{need}")
        return super().read(value, at)


def _by_type(function: Reader[Any], custom: Reader[Any]) -> dict[str, Reader[Any]]:
    return {"function": function, "custom": custom}


_TAG = ignored("type")
_NAME = required("name", NAME)
_DESCRIPTION = optional("description", FREE_TEXT)
_PARAMETERS = optional("parameters", SCHEMA)

_FUNCTION = _FunctionReader(FunctionDefinition, _NAME, _DESCRIPTION, _PARAMETERS, optional("strict", Nullable(BOOLEAN)))
_GRAMMAR = Object(
    Grammar, required("syntax", OneOf("lark", "regex")), required("definition", Text(None, can_be_empty=False))
)
_FORMAT: Tagged[TextFormat | GrammarFormat] = Tagged(
    "type",
    {"text": Object(TextFormat, _TAG), "grammar": Object(GrammarFormat, _TAG, required("grammar", _GRAMMAR))},
)
_CUSTOM = Object(CustomDefinition, _NAME, _DESCRIPTION, optional("format", _FORMAT))

TOOLS: Array[Tool] = Array(
    Tagged(
        "type",
        _by_type(
            Object(FunctionTool, _TAG, required("function", _FUNCTION)),
            Object(CustomTool, _TAG, required("custom", _CUSTOM)),
        ),
    ),
    maximum=MAX_TOOLS,
)
FUNCTIONS = Array(_FunctionReader(FunctionDefinition, _NAME, _DESCRIPTION, _PARAMETERS), maximum=MAX_TOOLS)

_NAMED = Object(Named, required("name", TEXT))
_NAMED_FUNCTION = Object(NamedFunction, _TAG, required("function", _NAMED))
_NAMED_CUSTOM = Object(NamedCustom, _TAG, required("custom", _NAMED))

# An allowed tool is a partial tool object: its name picks the tool, what else it repeats of the definition says nothing.
_PARTIAL_FUNCTION = Object(
    Named, required("name", TEXT), ignored("description"), ignored("parameters"), ignored("strict")
)
_PARTIAL_CUSTOM = Object(Named, required("name", TEXT), ignored("description"), ignored("format"))
_ALLOWED: Tagged[NamedFunction | NamedCustom] = Tagged(
    "type",
    _by_type(
        Object(NamedFunction, _TAG, required("function", _PARTIAL_FUNCTION)),
        Object(NamedCustom, _TAG, required("custom", _PARTIAL_CUSTOM)),
    ),
)
_ALLOWANCE = Object(Allowance, required("mode", OneOf("auto", "required")), required("tools", Array(_ALLOWED)))

TOOL_CHOICE = StringOr(
    _ToolChoiceReader(
        "type",
        {
            **_by_type(_NAMED_FUNCTION, _NAMED_CUSTOM),
            "allowed_tools": Object(AllowedTools, _TAG, required("allowed_tools", _ALLOWANCE)),
        },
    ),
    text=OneOf("none", "auto", "required"),
    expected="one of one of 'none', 'auto', or 'required' or object",
)
FUNCTION_CALL = StringOr(_NAMED, text=OneOf("none", "auto"), expected="one of one of 'none' or 'auto' or object")

_CALL_ID = required("id", Text(MAX_CALL_ID_CHARACTERS))
CALLED_FUNCTION = Object(CalledFunction, _NAME, required("arguments", TEXT))
_CALLED_CUSTOM = Object(CalledCustom, _NAME, required("input", TEXT))
TOOL_CALLS: Array[ToolCall] = Array(
    Tagged(
        "type",
        _by_type(
            Object(FunctionToolCall, _CALL_ID, _TAG, required("function", CALLED_FUNCTION)),
            Object(CustomToolCall, _CALL_ID, _TAG, required("custom", _CALLED_CUSTOM)),
        ),
    )
)
