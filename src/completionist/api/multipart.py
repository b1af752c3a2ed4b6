"""A multipart form as it arrives: parts of any size in constant memory, and nothing that a form does not need.

    feed(bytes) → Field | FileBegins | FileData …        finish()

The library splits; what is taken is decided here. A form has text fields and files, each with a name, in any order.
Everything else that the format knows or knew is refused: other dispositions, transfer encodings, forms in forms.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from completionist.errors import MalformedForm, UnsupportedContentType

FORM = "multipart/form-data"
MAX_FIELD_BYTES = 1024
MAX_PARTS = 16
_MAX_BOUNDARY_CHARACTERS = 70  # RFC 2046, section 5.1.1
_MAX_HEADER_BYTES = 2048
_MAX_HEADERS = 4
_PLAIN_ENCODINGS = {"7bit", "8bit", "binary"}


class Field(msgspec.Struct, frozen=True):
    """A whole text field."""

    name: str
    value: str


class FileBegins(msgspec.Struct, frozen=True):
    """The head of a file; its data follow. `filename` is what the client says, unchecked."""

    name: str
    filename: str


class FileData(msgspec.Struct, frozen=True):
    data: bytes


FormEvent = Field | FileBegins | FileData


class FormParser:
    """One form. Memory: a field, a header and a boundary."""

    def __init__(self, content_type: str | None) -> None:
        """Raises `UnsupportedContentType`, `MalformedForm`."""
        kind, options = parse_options_header(content_type or "")
        if kind.strip().lower() != FORM:
            raise UnsupportedContentType(content_type, accepted=FORM)
        boundary = options.get("boundary", "")
        if not 0 < len(boundary) <= _MAX_BOUNDARY_CHARACTERS or not boundary.isascii() or not boundary.isprintable():
            raise MalformedForm("its Content-Type header must name a boundary of 1 to 70 characters")
        self._parser = PushMultipartParser(
            boundary,
            max_header_size=_MAX_HEADER_BYTES,
            max_header_count=_MAX_HEADERS,
            max_segment_count=MAX_PARTS,
        )
        self._field: str | None = None
        """Name of the text field that is open."""
        self._text = b""

    def feed(self, data: bytes) -> Iterator[FormEvent]:
        """What `data` completes; read it to its end before feeding more. Raises `MalformedForm`."""
        try:
            for event in self._parser.parse(data) if data else ():
                if isinstance(event, MultipartSegment):
                    yield from self._begin(event)
                elif event is None:
                    yield from self._end()
                elif self._field is None:
                    yield FileData(event)
                else:
                    self._add_text(event)
        except MultipartError as error:
            raise MalformedForm(_reason(error)) from None

    def finish(self) -> None:
        """Raises `MalformedForm` where the form is not complete."""
        try:
            self._parser.close()
        except MultipartError:
            raise MalformedForm("it ends before its last boundary") from None

    def _begin(self, part: MultipartSegment) -> Iterator[FormEvent]:
        if part.header("Content-Transfer-Encoding", "binary").strip().lower() not in _PLAIN_ENCODINGS:
            raise MalformedForm("parts must not have a transfer encoding")
        if not part.name:
            raise MalformedForm("every part must have a name")
        if part.filename is not None:
            yield FileBegins(part.name, part.filename)
        else:
            self._field, self._text = part.name, b""

    def _add_text(self, data: bytes) -> None:
        self._text += data
        if len(self._text) > MAX_FIELD_BYTES:
            raise MalformedForm(f"a text field is longer than {MAX_FIELD_BYTES} bytes")

    def _end(self) -> Iterator[FormEvent]:
        if (name := self._field) is not None:
            self._field = None
            try:
                yield Field(name, self._text.decode())
            except UnicodeDecodeError:
                raise MalformedForm("a text field is not valid UTF-8") from None


def _reason(error: MultipartError) -> str:
    """The library's words are short and name nothing but the form."""
    return str(error.args[0])[:1].lower() + str(error.args[0])[1:]
