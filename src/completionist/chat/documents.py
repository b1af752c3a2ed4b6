"""Which files can be read as text, and how their text stands in a prompt (contract 8.7, 13.8).

    [File: plan.pdf]
    [Page 1]
    …
    [End of file: plan.pdf]

What reads them is behind `DocumentReader`: decoders of foreign formats run in a process of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Literal, Protocol, get_args

import msgspec

from completionist.types.parts import Base64

DocumentKind = Literal["pdf", "docx", "pptx", "xlsx", "csv", "tsv", "html", "text"]

_OFFICE = "application/vnd.openxmlformats-officedocument"
_BY_MEDIA_TYPE: Mapping[str, DocumentKind] = {
    "application/pdf": "pdf",
    f"{_OFFICE}.wordprocessingml.document": "docx",
    f"{_OFFICE}.presentationml.presentation": "pptx",
    f"{_OFFICE}.spreadsheetml.sheet": "xlsx",
    "application/csv": "csv",
    "text/csv": "csv",
    "text/tab-separated-values": "tsv",
    "text/tsv": "tsv",
    "text/html": "html",
    "application/xhtml+xml": "html",
    **dict.fromkeys(
        (
            "application/javascript", "application/json", "application/sql", "application/toml", "application/typescript",
            "application/x-httpd-php", "application/x-ndjson", "application/x-python", "application/x-sh",
            "application/x-tex", "application/x-yaml", "application/xml", "application/yaml",
        ),
        "text",
    ),
}  # fmt: skip
_TEXT_SUFFIXES = (
    "txt md markdown rst adoc org log tex bib srt vtt ics eml json jsonl ndjson xml svg yaml yml toml ini cfg conf "
    "env properties diff patch py pyi ipynb js mjs cjs jsx ts tsx vue svelte css scss less java kt kts scala groovy "
    "go rs c h cc cpp cxx hpp hh cs fs vb swift m mm rb php pl pm lua r jl dart ex exs erl hrl hs ml mli clj cljs "
    "lisp el scm zig nim v sv vhd sh bash zsh fish ps1 bat cmd sql graphql proto thrift tf hcl cmake make mk "
    "dockerfile gradle"
)
_BY_SUFFIX: Mapping[str, DocumentKind] = {
    **{f".{kind}": kind for kind in get_args(DocumentKind)},
    ".htm": "html",
    ".xhtml": "html",
    ".tab": "tsv",
    **{f".{suffix}": "text" for suffix in _TEXT_SUFFIXES.split()},
}
_NOT_TEXT = frozenset({"text/rtf"})


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A file to be read."""

    kind: DocumentKind
    content: Base64 | Sequence[bytes]
    """The bytes, in parts where they are not base64."""


class Unreadable(Exception):
    """A file that cannot be read; the text is a sentence for the client."""


class DocumentReader(Protocol):
    """Reads files as text."""

    async def text_of(self, document: Document, project: str) -> str:
        """Its text, page by page or sheet by sheet. Projects get their turns in the order they come.

        Raises `Unreadable`, `Overloaded`, `ServerError`.
        """
        ...


def kind_of(filename: str, media_type: str = "") -> DocumentKind | None:
    """What a file is: its media type decides, the end of its name where that says nothing. None: nothing that can be read."""
    media_type = media_type.lower()
    if known := _BY_MEDIA_TYPE.get(media_type):
        return known
    if media_type.startswith("text/") and media_type not in _NOT_TEXT:
        return "text"
    return _BY_SUFFIX.get(PurePosixPath(filename.lower()).suffix)


def shown(filename: str, text: str) -> str:
    """A file in the prompt. What a client put into the name stays on its line."""
    name = "".join(character if character.isprintable() else " " for character in filename)
    return f"[File: {name}]\n{text.strip()}\n[End of file: {name}]"
