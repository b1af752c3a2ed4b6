"""What the published document says of each route beyond its path: the query, the body and the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from completionist.api.lists import ListPage
from completionist.api.loaded import LoadedModels, ModelStopped
from completionist.api.stored import CompletionDeleted
from completionist.api.system import Health, Model, Models
from completionist.api.usage import DIMENSIONS, MAX_DAYS, UsagePage
from completionist.types.files import FILE_PURPOSES, FileDeleted, FileObject

Schema = dict[str, Any]
Operation = tuple[str, str]
"""A method and a path."""

_STRING: Schema = {"type": "string"}
_SECONDS: Schema = {"type": "integer", "minimum": 0, "maximum": 10**11 - 1}


def _page(max_limit: int, **more: Schema) -> Mapping[str, Schema]:
    limit = {"type": "integer", "minimum": 1, "maximum": max_limit}
    return {"limit": limit, "order": {"enum": ["asc", "desc"]}, "after": _STRING, **more}


def _several(item: Schema) -> Schema:
    return {"type": "array", "items": item}


_USAGE: Mapping[str, Schema] = {
    "start_time": _SECONDS,
    "end_time": _SECONDS,
    "bucket_width": {"const": "1d"},
    "limit": {"type": "integer", "minimum": 1, "maximum": MAX_DAYS},
    "group_by": _several({"enum": list(DIMENSIONS)}),
    "project_ids": _several(_STRING),
    "user_ids": _several(_STRING),
    "api_key_ids": _several(_STRING),
    "models": _several(_STRING),
    "page": {"type": "string", "pattern": "^[0-9]{1,11}$"},
}

QUERIES: Mapping[Operation, Mapping[str, Schema]] = {
    ("GET", "/v1/chat/completions"): _page(100, model=_STRING),
    ("GET", "/v1/chat/completions/{completion_id}/messages"): _page(100),
    ("GET", "/v1/files"): _page(10_000, purpose={"enum": list(FILE_PURPOSES)}),
    ("GET", "/v1/organization/usage/completions"): _USAGE,
}
"""Parameters that are not here are ignored. `metadata[KEY]`, which filters completions, has no form in this format."""

REQUIRED: frozenset[str] = frozenset({"start_time"})
"""Of the parameters."""

UPLOAD: Schema = {
    "type": "object",
    "properties": {
        "file": {"type": "string", "format": "binary"},
        "purpose": {"enum": list(FILE_PURPOSES)},
        "expires_after[anchor]": {"const": "created_at"},
        "expires_after[seconds]": {"type": "integer", "minimum": 3600, "maximum": 2_592_000},
    },
    "required": ["file", "purpose"],
    "additionalProperties": False,
}

ANSWERS: Mapping[Operation, type[msgspec.Struct]] = {
    ("GET", "/v1/chat/completions"): ListPage,
    ("DELETE", "/v1/chat/completions/{completion_id}"): CompletionDeleted,
    ("GET", "/v1/chat/completions/{completion_id}/messages"): ListPage,
    ("POST", "/v1/files"): FileObject,
    ("GET", "/v1/files"): ListPage,
    ("GET", "/v1/files/{file_id}"): FileObject,
    ("DELETE", "/v1/files/{file_id}"): FileDeleted,
    ("GET", "/v1/models"): Models,
    ("GET", "/v1/models/{model}"): Model,
    ("GET", "/v1/organization/usage/completions"): UsagePage,
    ("GET", "/health/live"): Health,
    ("GET", "/admin/models"): LoadedModels,
    ("DELETE", "/admin/models/{model}"): ModelStopped,
}


def parameters(operation: Operation) -> Sequence[Schema]:
    """Of the query."""
    return [
        {"name": name, "in": "query", "required": name in REQUIRED, "schema": schema}
        for name, schema in QUERIES.get(operation, {}).items()
    ]
