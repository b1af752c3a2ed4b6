"""What a request adds to the system text of its prompt, in words. It counts as prompt tokens (contract 13.4)."""

from __future__ import annotations

from typing import Literal

import msgspec

from completionist.types.formats import JSONSchemaFormat
from completionist.types.schemas import Schema, changed

Verbosity = Literal["low", "medium", "high"]

_VERBOSITY: dict[Verbosity, str] = {
    "low": "Answer briefly: say only what is needed, in as few words as you can.",
    "medium": "Answer at moderate length: what is needed, with the most important explanations.",
    "high": "Answer in detail: explain every step, and give examples where they help.",
}


def verbosity_instruction(verbosity: Verbosity) -> str:
    """Acts whenever the field is sent, with its default value too (contract 13.1)."""
    return _VERBOSITY[verbosity]


def schema_instruction(sent: JSONSchemaFormat) -> str:
    """A model that has read the schema puts the right things into the form that the grammar holds it to (contract 7.6). What
    says only that every property comes, and no other, is the grammar's alone: a third of a strict schema's tokens, which each
    token of the answer would attend to."""
    about = f" ({sent.description})" if sent.description else ""
    if not sent.schema:
        return f"Answer with a JSON object: {sent.name}{about}."
    schema = msgspec.json.encode(changed(sent.schema, _without_what_is_understood)).decode()
    return f"Answer with a JSON object that fits this JSON Schema: {sent.name}{about}\n{schema}"


def _without_what_is_understood(schema: Schema) -> Schema:
    """Of a schema that may be wrong still: what a strict one must not say is refused later."""
    properties, required = schema.get("properties"), schema.get("required")
    left_out = set()
    names = {name for name in required if isinstance(name, str)} if isinstance(required, list) else None
    if isinstance(properties, dict) and properties.keys() == names:
        left_out.add("required")
    if schema.get("additionalProperties") is False:
        left_out.add("additionalProperties")
    return {keyword: value for keyword, value in schema.items() if keyword not in left_out}
