"""`Authorization` becomes a `Caller` before any byte of the body is read (contract, sections 9.2 and 10)."""

from __future__ import annotations

from starlette.datastructures import Headers

from completionist.api.hosts import is_loopback
from completionist.api.keyring import Keyring
from completionist.errors import MismatchedHeader, MissingKey, MissingScope
from completionist.types.caller import Caller
from completionist.types.scopes import OPEN_HERE, Scope


def authenticate(headers: Headers, client_host: str, scope: Scope, keyring: Keyring) -> Caller:
    """Who asks. Raises `Unauthenticated`, `MissingScope`; `StorageUnavailable` where it is not known who may."""
    if is_loopback(client_host) and (scope in OPEN_HERE or not keyring.needs_key):
        caller = keyring.anyone()
    else:
        caller = keyring.holder(_bearer_key(headers))
    _check_names(headers, caller)
    if scope not in caller.scopes:
        raise MissingScope(scope)
    return caller


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
