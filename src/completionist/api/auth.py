"""`Authorization` becomes a `Caller` before any byte of the body is read (contract, sections 9.2 and 10)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import Literal

from starlette.datastructures import Headers

from completionist.errors import IncorrectKey, MismatchedHeader, MissingKey
from completionist.settings import KeySettings, is_loopback
from completionist.types.caller import Caller

Scope = Literal[
    "public",
    "operations",
    "model.read",
    "model.request",
    "completions.read",
    "completions.write",
    "files.read",
    "files.write",
]
"""What a route asks of its caller: nothing; to be on this machine or to have a key; a key, where keys are configured."""


class Keys:
    """The configured API keys. Only digests are kept, and compared in constant time."""

    def __init__(self, keys: Sequence[KeySettings]) -> None:
        self._callers = [
            (k.sha256, Caller(project=k.project, organization=k.organization, service_tier=k.service_tier))
            for k in keys
        ]

    def authenticate(self, headers: Headers, client_host: str, scope: Scope) -> Caller:
        """Who asks. Raises `Unauthenticated`."""
        if is_loopback(client_host) and (scope == "operations" or not self._callers):
            caller = Caller()
        else:
            caller = self._holder(_bearer_key(headers))
        _check_names(headers, caller)
        return caller

    def _holder(self, key: str) -> Caller:
        digest = hashlib.sha256(key.encode("latin-1")).hexdigest()
        found = [caller for sha256, caller in self._callers if hmac.compare_digest(sha256, digest)]
        if not found:
            raise IncorrectKey(key)
        return found[0]


def _bearer_key(headers: Headers) -> str:
    values = headers.getlist("authorization")
    if len(values) != 1:
        raise MissingKey
    scheme, _, key = values[0].partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise MissingKey
    return key.strip()


def _check_names(headers: Headers, caller: Caller) -> None:
    for kind, own in (("organization", caller.organization), ("project", caller.project)):
        if any(name != own for name in headers.getlist(f"openai-{kind}")):
            raise MismatchedHeader(kind)
