"""Where the model hub is and where its files are kept, by the variables that every program of its kind respects.

`HF_ENDPOINT`, `HF_HOME`, `HF_HUB_CACHE`, `HF_TOKEN`, `HF_TOKEN_PATH`, `HF_HUB_OFFLINE`, `HF_HUB_DOWNLOAD_TIMEOUT`, as the
documentation of `huggingface_hub` has them ("Environment variables"). They are read when they are needed, not kept.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from completionist.errors import OperatorError

_PUBLIC_ENDPOINT = "https://huggingface.co"
_TRUE = frozenset({"1", "ON", "YES", "TRUE"})
_DEFAULT_TIMEOUT_S = 10.0


class BadEndpoint(OperatorError):
    def __init__(self, endpoint: str) -> None:
        super().__init__(f"HF_ENDPOINT is no address of a hub ({endpoint}): correct it, or unset it")


class HubPlace(msgspec.Struct, frozen=True, kw_only=True):
    """What the environment says."""

    endpoint: str
    """Without a slash at the end."""
    cache: Path
    """The directory of `models--org--repo` directories; it need not exist."""
    token: str | None = None
    is_offline: bool = False
    timeout_s: float = _DEFAULT_TIMEOUT_S
    """Patience with a silent server."""


def hub_place() -> HubPlace:
    """The hub of this user. Raises `BadEndpoint`."""
    endpoint = hub_endpoint()
    if not endpoint.startswith(("http://", "https://")):
        raise BadEndpoint(endpoint)
    return HubPlace(
        endpoint=endpoint,
        cache=hub_cache(),
        token=_token(),
        is_offline=_is_true("HF_HUB_OFFLINE") or _is_true("TRANSFORMERS_OFFLINE"),
        timeout_s=_timeout_s(),
    )


def hub_endpoint() -> str:
    return (os.environ.get("HF_ENDPOINT") or _PUBLIC_ENDPOINT).rstrip("/")


def hub_cache() -> Path:
    named = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    return Path(named).expanduser() if named else _home() / "hub"


def _home() -> Path:
    if named := os.environ.get("HF_HOME"):
        return Path(named).expanduser()
    caches = os.environ.get("XDG_CACHE_HOME")
    return (Path(caches) if caches else Path.home() / ".cache") / "huggingface"


def _token() -> str | None:
    """The variable's, else the one that the hub's own command line has kept."""
    if named := os.environ.get("HF_TOKEN") or os.environ.get("HUGGING_FACE_HUB_TOKEN"):
        return named.strip() or None
    if _is_true("HF_HUB_DISABLE_IMPLICIT_TOKEN"):
        return None
    file = os.environ.get("HF_TOKEN_PATH")
    try:
        return (Path(file).expanduser() if file else _home() / "token").read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _timeout_s() -> float:
    try:
        return float(os.environ.get("HF_HUB_DOWNLOAD_TIMEOUT", "")) or _DEFAULT_TIMEOUT_S
    except ValueError:
        return _DEFAULT_TIMEOUT_S


def _is_true(variable: str) -> bool:
    return os.environ.get(variable, "").upper() in _TRUE
