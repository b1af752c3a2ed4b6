"""Which files can be read as text, and how their text stands in a prompt (contract 8.7, 13.8).

    [File: plan.pdf]
    [Page 1]
    …
    [End of file: plan.pdf]

What reads them is behind `DocumentReader`: decoders of foreign formats run in a process of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Literal, Protocol, get_args

import msgspec

from completionist.types.parts import Base64, Pixels

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
    """Reads files as text, and as pictures for a model that sees."""

    async def read(self, document: Document, project: str, *, max_pictures: int) -> Sequence[str | Pixels]:
        """Its text, page by page or sheet by sheet, and pictures of its first pages, `max_pictures` at most, where the kind has
        them. Files of pictures are the caller's, who has them deleted (`Senses.forget`). Projects get their turns in the order
        they come.

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


def shown(filename: str, pieces: Sequence[str | Pixels], before: str, after: str) -> list[str | Pixels]:
    """A file in the prompt, between `before` and `after`: it begins and ends with text. What a client put into the name stays
    on its line."""
    name = "".join(character if character.isprintable() else " " for character in filename)
    inside = list(pieces)
    if inside and isinstance(inside[0], str):
        inside[0] = inside[0].lstrip()
    if inside and isinstance(inside[-1], str):
        inside[-1] = inside[-1].rstrip()
    return _joined([f"{before}[File: {name}]\n", *inside, f"\n[End of file: {name}]{after}"])


def _joined(pieces: Iterable[str | Pixels]) -> list[str | Pixels]:
    """Texts that follow each other as one."""
    result: list[str | Pixels] = []
    for piece in pieces:
        if isinstance(piece, str) and result and isinstance(result[-1], str):
            result[-1] += piece
        else:
            result.append(piece)
    return result
