"""What a key may do: the scopes that routes ask for and keys are given (contract, section 9.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Scope = Literal[
    "model.read",
    "model.request",
    "completions.read",
    "completions.write",
    "files.read",
    "files.write",
    "usage.read",
    "metrics.read",
    "admin",
]

SCOPES: Mapping[Scope, str] = {
    "model.read": "list models",
    "model.request": "create completions",
    "completions.read": "read the project's stored completions",
    "completions.write": "change and delete them",
    "files.read": "read the project's files",
    "files.write": "upload and delete them",
    "usage.read": "read the project's usage",
    "metrics.read": "read the metrics of the whole server, from another machine too",
    "admin": "look after the server: its models, and the usage of all projects",
}

DEFAULT_SCOPES: frozenset[Scope] = frozenset(SCOPES) - {"metrics.read", "admin"}
"""All that concerns one project alone."""

Access = Literal["public"] | Scope
"""What a route asks of its caller: nothing, or a scope."""

OPEN_HERE: frozenset[Access] = frozenset({"metrics.read"})
"""What callers on this machine need no key for, whether there are keys or not."""
