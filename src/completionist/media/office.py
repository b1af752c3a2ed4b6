"""Word documents and presentations → text: a walk over their XML, which is never in memory as a whole.

Both keep text in `t` elements of paragraphs `p` (runs `r` in them, tables as rows `tr` of cells `tc`), Word in the namespace
of WordprocessingML, presentations in that of DrawingML (ISO/IEC 29500-1, 17.3 and 21.1).
"""

from __future__ import annotations

import io
import posixpath
import zipfile
from collections.abc import Callable, Iterator, Mapping
from xml.parsers import expat

from completionist.media.pages import Pages, Refusal

_MAX_INFLATED_BYTES = 2**28
_CHUNK_BYTES = 2**16
_TEXT_NAMESPACES = ("wordprocessingml", "drawingml/main", "drawingml/2006/main")


def read_docx(data: bytes, pages: Pages) -> None:
    """Body and footnotes. Raises `Refusal`, and what archive and XML raise."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        check_archive(archive)
        _read_paragraphs(archive, "word/document.xml", pages)
        if "word/footnotes.xml" in archive.namelist():
            _read_paragraphs(archive, "word/footnotes.xml", pages)


def read_pptx(data: bytes, pages: Pages) -> None:
    """Slides in the order of the show. Raises `Refusal`, and what archive and XML raise."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        check_archive(archive)
        slides = list(_slides(archive))
        pages.expect(len(slides))
        for number, slide in enumerate(slides, start=1):
            pages.begin(f"Slide {number}")
            _read_paragraphs(archive, slide, pages)


def check_archive(archive: zipfile.ZipFile) -> None:
    """Of an entry no more is ever inflated than it announces. Raises `Refusal` for a bomb, or a locked archive."""
    entries = archive.infolist()
    if any(entry.flag_bits & 1 for entry in entries):
        raise Refusal("It is encrypted.")
    if sum(entry.file_size for entry in entries) > _MAX_INFLATED_BYTES:
        raise Refusal(f"Unpacked it has more than {_MAX_INFLATED_BYTES} bytes.")


def _slides(archive: zipfile.ZipFile) -> Iterator[str]:
    """Names of entries."""
    targets: dict[str, str] = {}
    wanted: list[str] = []

    def relationship(name: str, attributes: Mapping[str, str]) -> None:
        if name.endswith(" Relationship"):
            targets[attributes["Id"]] = attributes["Target"]

    def slide(name: str, attributes: Mapping[str, str]) -> None:
        if name.endswith(" sldId"):
            wanted.extend(value for key, value in attributes.items() if key.endswith("/relationships id"))

    _parse(archive, "ppt/_rels/presentation.xml.rels", on_start=relationship)
    _parse(archive, "ppt/presentation.xml", on_start=slide)
    for id_ in wanted:
        yield posixpath.normpath(posixpath.join("ppt", targets[id_])).removeprefix("/")


def _read_paragraphs(archive: zipfile.ZipFile, entry: str, pages: Pages) -> None:
    walk = _Paragraphs(pages)
    _parse(archive, entry, on_start=walk.start, on_end=walk.end, on_text=walk.text)


class _Paragraphs:
    """Paragraphs are lines; in a table a row is one, with tabs between its cells."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._n_cells = self._n_runs = self._n_texts = self._n_fallbacks = 0

    def start(self, name: str, _: Mapping[str, str]) -> None:
        match _local(name):
            case "tc":
                self._n_cells += 1
            case "r":
                self._n_runs += 1
            case "t":
                self._n_texts += 1
            case "Fallback":  # the same again, for programs that do not know its other form
                self._n_fallbacks += 1
            case "br" | "cr":
                self._add("\n" if not self._n_cells else " ")
            case "tab" if self._n_runs:  # elsewhere it defines a tab stop
                self._add("\t")

    def end(self, name: str) -> None:
        match _local(name):
            case "tc":
                self._n_cells -= 1
                self._add("\t")
            case "r":
                self._n_runs -= 1
            case "t":
                self._n_texts -= 1
            case "Fallback":
                self._n_fallbacks -= 1
            case "p":
                self._add(" " if self._n_cells else "\n")
            case "tr":
                self._add("\n" if not self._n_cells else " ")

    def text(self, text: str) -> None:
        if self._n_texts:
            self._add(text)

    def _add(self, text: str) -> None:
        if not self._n_fallbacks:
            self._pages.add(text)


def _local(name: str) -> str:
    namespace, _, local = name.rpartition(" ")
    return local if local == "Fallback" or any(known in namespace for known in _TEXT_NAMESPACES) else ""


def _parse(
    archive: zipfile.ZipFile,
    entry: str,
    *,
    on_start: Callable[[str, Mapping[str, str]], None],
    on_end: Callable[[str], None] | None = None,
    on_text: Callable[[str], None] | None = None,
) -> None:
    """Names are `namespace local`. These formats know no document types, and so no entities of their own."""
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.StartElementHandler = on_start
    parser.EndElementHandler = on_end
    parser.CharacterDataHandler = on_text
    with archive.open(entry) as xml:
        while chunk := xml.read(_CHUNK_BYTES):
            parser.Parse(chunk)
        parser.Parse(b"", True)


def _refuse_doctype(*_: object) -> None:
    raise Refusal("It has a document type, which no such file has.")
