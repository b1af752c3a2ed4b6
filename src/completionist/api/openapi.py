"""The published document: what this server takes and gives, as OpenAPI 3.1, made of the very things that read and write it.

A request is described by its readers (`types.readers`), an answer by its structs; both are closed: a key that is not here is
refused on the way in, and never sent on the way out.
"""

from __future__ import annotations

import asyncio
import functools
import types
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import UnsetType

from completionist.api.described import ANSWERS, UPLOAD, Operation, parameters
from completionist.api.exchange import Exchange
from completionist.api.multipart import FORM
from completionist.api.problems import ErrorBody
from completionist.api.services import Services
from completionist.types.completion import ChatCompletion, Chunk
from completionist.types.maps import METADATA, MapReader
from completionist.types.readers import (
    Array,
    Boolean,
    Nullable,
    Number,
    Object,
    OneOf,
    Reader,
    StringOr,
    Tagged,
    Text,
)
from completionist.types.request import FIELDS
from completionist.types.schemas import SchemaReader

if TYPE_CHECKING:
    from completionist.api.routes import Handler, Route

Schema = dict[str, Any]

CREATE = ("POST", "/v1/chat/completions")


def publish(routes: Callable[[], Sequence[Route]]) -> Handler:
    """A handler that answers with the document for `routes`, made once."""

    @functools.cache
    def encoded() -> bytes:
        return msgspec.json.encode(document(routes()))

    async def openapi(exchange: Exchange, services: Services) -> None:  # noqa: ARG001 (the signature of every handler)
        """This document."""
        await exchange.respond_json(await asyncio.to_thread(encoded))

    return openapi


def document(routes: Sequence[Route]) -> Schema:
    """All of it, as JSON."""
    components = _Components()
    paths: dict[str, Schema] = {}
    for route in routes:
        path = route.path.replace(":path}", "}")
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, path, components)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Completionist", "version": version("completionist")},
        "paths": paths,
        "components": {
            "schemas": {"ChatRequest": request_schema(), **components.schemas},
            "securitySchemes": {"ApiKey": {"type": "http", "scheme": "bearer"}},
        },
    }


def request_schema() -> Schema:
    """The body of a create call. The rules between fields (contract 2.5) are not in it."""
    properties: Schema = {"model": {"type": "string", "minLength": 1}}
    properties |= {field.name: reader_schema(field.reader) for field in FIELDS}
    return {
        "type": "object",
        "properties": properties,
        "required": ["model", "messages"],
        "additionalProperties": False,
    }


def reader_schema(reader: Reader[Any]) -> Schema:
    """What one reader takes."""
    match reader:
        case Nullable():
            return {"anyOf": [reader_schema(reader.inner), {"type": "null"}]}
        case StringOr():
            return {"anyOf": [reader_schema(reader.text), reader_schema(reader.other)]}
        case Tagged():
            return {"oneOf": [_tagged(reader, kind) for kind in reader.variants]}
        case Object():
            return _object_schema(reader)
        case Array():
            bounds = {"minItems": 1} | ({} if reader.maximum is None else {"maxItems": reader.maximum})
            return {"type": "array", "items": reader_schema(reader.item), **bounds}
        case _:
            return _simple_schema(reader)


def _simple_schema(reader: Reader[Any]) -> Schema:
    match reader:
        case OneOf():
            return {"enum": [*reader.listed, *sorted(reader.values - set(reader.listed))]}
        case Text():
            return {"type": "string", **_text_bounds(reader)}
        case Number():
            kind = "number" if reader.is_decimal else "integer"
            return {"type": kind, "minimum": reader.minimum, "maximum": reader.maximum}
        case Boolean():
            return {"type": "boolean"}
        case MapReader():
            values = reader_schema(reader.value)
            return {"type": "object", "additionalProperties": values, "maxProperties": reader.max_pairs}
        case _:
            return {"type": "object"} if isinstance(reader, SchemaReader) else {}


def _text_bounds(reader: Text) -> Schema:
    bounds = {
        "minLength": None if reader.can_be_empty else 1,
        "maxLength": reader.maximum,
        "pattern": reader.pattern,
    }
    return {name: bound for name, bound in bounds.items() if bound is not None}


def _object_schema(reader: Object[Any]) -> Schema:
    return {
        "type": "object",
        "properties": {key.name: reader_schema(key.reader) for key in reader.keys},
        "required": list(reader.required),
        "additionalProperties": False,
    }


def _tagged(reader: Tagged[Any], kind: str) -> Schema:
    variant = reader_schema(reader.variants[kind])
    return {
        **variant,
        "properties": {**variant["properties"], reader.tag: {"const": kind}},
        "required": [reader.tag, *(name for name in variant["required"] if name != reader.tag)],
    }


class _Components:
    """Schemas of structs, each described once and referred to by name."""

    def __init__(self) -> None:
        self.schemas: dict[str, Schema] = {}

    def refer(self, struct: type[msgspec.Struct]) -> Schema:
        name = struct.__name__.lstrip("_")
        if name not in self.schemas:
            self.schemas[name] = {}  # where it refers to itself
            self.schemas[name] = self._described(struct)
        return {"$ref": f"#/components/schemas/{name}"}

    def _described(self, struct: type[msgspec.Struct]) -> Schema:
        hints = get_type_hints(struct)
        properties = {field.encode_name: self.of(hints[field.name]) for field in msgspec.structs.fields(struct)}
        required = [f.encode_name for f in msgspec.structs.fields(struct) if UnsetType not in get_args(hints[f.name])]
        return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}

    def of(self, hint: object) -> Schema:
        """The schema of a type as it stands in JSON."""
        origin = get_origin(hint)
        if origin is Literal:
            return {"enum": list(get_args(hint))}
        if origin in (Union, types.UnionType):
            forms = [self.of(form) for form in get_args(hint) if form is not UnsetType]
            return forms[0] if len(forms) == 1 else {"anyOf": forms}
        if origin in (tuple, list):
            items = get_args(hint)
            return {"type": "array", "items": self.of(items[0])} if items else {"type": "array", "maxItems": 0}
        if origin is Mapping:
            return {"type": "object", "additionalProperties": self.of(get_args(hint)[1])}
        if hint in _SCALARS:
            return _SCALARS[hint]
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            return self.refer(hint)
        raise TypeError(f"no schema for {hint!r}")


_SCALARS: Mapping[object, Schema] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    msgspec.Raw: {},
}


def _operation(route: Route, path: str, components: _Components) -> Schema:
    of = (route.method, path)
    answers: Schema = {"200": {"description": "Done."}}
    operation: Schema = {"operationId": f"{route.method.lower()} {path}", "responses": answers}
    if of in _BODIES:
        operation["requestBody"] = {"required": True, "content": _BODIES[of]}
    if of == CREATE:
        answers["200"]["content"] = {
            **_json(components.refer(ChatCompletion)),
            "text/event-stream": {"schema": components.refer(Chunk)},
        }
    elif of in ANSWERS:
        answers["200"]["content"] = _json(components.refer(ANSWERS[of]))
    answers["default"] = {"description": "Refused or failed.", "content": _json(components.refer(ErrorBody))}
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    operation["parameters"] = [
        *({"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names),
        *parameters(of),
    ]
    operation["security"] = _SECURITY.get(route.scope, [{"ApiKey": []}])
    return operation


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


_SECURITY: Mapping[str, list[Schema]] = {"public": [], "metrics.read": [{}, {"ApiKey": []}]}
"""Metrics need no key where they are asked for on the server's own machine."""

_BODIES: Mapping[Operation, Schema] = {
    CREATE: _json({"$ref": "#/components/schemas/ChatRequest"}),
    ("POST", "/v1/chat/completions/{completion_id}"): _json(
        {
            "type": "object",
            "properties": {"metadata": reader_schema(Nullable(METADATA))},
            "required": ["metadata"],
            "additionalProperties": False,
        }
    ),
    ("POST", "/v1/files"): {FORM: {"schema": UPLOAD}},
}
