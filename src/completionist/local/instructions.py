"""What a request adds to the system text of its prompt, in words. It counts as prompt tokens (contract 13.4)."""

from __future__ import annotations

from typing import Literal

import msgspec

from completionist.local.shorthand import shorthand
from completionist.types.formats import JSONSchemaFormat

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
    """A model that has read the schema puts the right things into the form that the grammar holds it to (contract 7.6)."""
    about = f" ({sent.description})" if sent.description else ""
    if not sent.schema:
        return f"Answer with a JSON object: {sent.name}{about}."
    types = shorthand(sent.schema)
    if types is not None:
        return f"Answer with a JSON object of this form: {sent.name}{about}\n{types}"
    schema = msgspec.json.encode(sent.schema).decode()
    return f"Answer with a JSON object that fits this JSON Schema: {sent.name}{about}\n{schema}"
