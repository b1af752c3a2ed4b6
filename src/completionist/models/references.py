"""What a user may call a repository of the model hub, or one file of it.

    hf:org/repo[@revision][:quantisation]     the whole form; `hf:org/repo/dir/file.gguf` is one file
    org/repo[:quantisation]                   the same, as llama.cpp takes it
    https://huggingface.co/org/repo/…         an address: of a repository, a tree, a file; of `HF_ENDPOINT` too

Names of the catalogue have no slash, and files come before references: see `installed.resolve`.
"""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

import msgspec

from completionist.errors import OperatorError
from completionist.models.places import hub_endpoint

MAIN = "main"
_PREFIXES = ("hf://", "hf:")
_HOSTS = ("huggingface.co", "hf.co", "www.huggingface.co")
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_WHOLE = re.compile(
    rf"(?P<repository>{_NAME}/{_NAME}?)(?:@(?P<revision>[\w./-]+?))?(?::(?P<quantisation>[\w-]+)|/(?P<file>[^:]+\.gguf))?"
)
_SHORT = re.compile(rf"{_NAME}/{_NAME}(?:@[\w./-]+)?(?::[\w-]+)?")


class BadReference(OperatorError):
    """It is meant for the hub, and no reference."""

    def __init__(self, text: str) -> None:
        super().__init__(f"{text} is no reference to a model on the hub: write hf:org/repo, or hf:org/repo:Q4_K_M")


class HubReference(msgspec.Struct, frozen=True, kw_only=True):
    """A repository, and what of it: `quantisation` or `file`, else the usual choice."""

    repository: str
    """`org/repo`."""
    revision: str = MAIN
    """Branch, tag or commit."""
    quantisation: str | None = None
    """In capital letters."""
    file: str | None = None
    """Path in the repository."""

    @property
    def text(self) -> str:
        """As a user would write it, and as clients name the model."""
        if self.file is not None:
            return f"hf:{self._versioned}/{self.file}"
        return f"{self._versioned}:{self.quantisation}" if self.quantisation else self._versioned

    @property
    def _versioned(self) -> str:
        return self.repository if self.revision == MAIN else f"{self.repository}@{self.revision}"


def hub_reference(text: str) -> HubReference | None:
    """What `text` names on the hub; None where it is no reference. Raises `BadReference`."""
    if path := _path_of_address(text):
        return _of_address(text, path)
    for prefix in _PREFIXES:
        if text.startswith(prefix):
            return _whole(text, text.removeprefix(prefix))
    if _SHORT.fullmatch(text) and not text.lower().endswith(".gguf"):
        return _whole(text, text)
    return None


def is_safe_path(path: str) -> bool:
    """Whether a path of a repository stays inside it."""
    return (
        not path.startswith("/") and "\\" not in path and all(part not in ("", ".", "..") for part in path.split("/"))
    )


def _whole(text: str, named: str) -> HubReference:
    found = _WHOLE.fullmatch(named)
    if found is None or not is_safe_path(found["file"] or "file") or ".." in found["repository"]:
        raise BadReference(text)
    quantisation = found["quantisation"]
    return HubReference(
        repository=found["repository"],
        revision=_safe_revision(text, found["revision"] or MAIN),
        quantisation=quantisation.upper() if quantisation else None,
        file=found["file"],
    )


def _safe_revision(text: str, revision: str) -> str:
    if not is_safe_path(revision):
        raise BadReference(text)
    return revision


def _path_of_address(text: str) -> str | None:
    """None where it is no address. Raises `BadReference` for one elsewhere."""
    has_scheme = text.startswith(("http://", "https://"))
    url = urlsplit(text if has_scheme else f"https://{text}")
    own = urlsplit(hub_endpoint()).netloc
    if url.netloc not in (*_HOSTS, own):
        if has_scheme:
            raise BadReference(text)
        return None
    return unquote(url.path).strip("/")


def _of_address(text: str, path: str) -> HubReference:
    match path.split("/"):
        case [_, _]:
            return _whole(text, path)
        case [org, repo, "tree", *revision] if revision:
            return _whole(text, f"{org}/{repo}@{'/'.join(revision)}")
        case [org, repo, "blob" | "resolve", revision, *file] if file:
            return _whole(text, f"{org}/{repo}@{revision}/{'/'.join(file)}")
        case _:
            raise BadReference(text)
