"""Forms as bytes come in, however they are cut; and what is no form."""

from __future__ import annotations

import pytest

from completionist.api.multipart import MAX_FIELD_BYTES, MAX_PARTS, Field, FileBegins, FileData, FormEvent, FormParser
from completionist.errors import MalformedForm, UnsupportedContentType
from tests.support.forms import BOUNDARY, CONTENT_TYPE, FILE, PURPOSE, form, part

TRICKY = b"\r\n--tid\r\n--\r\r\n--tideless".replace(b"--tideless", b"-tideless") + b"\x00\xff" * 3


def read(*chunks: bytes) -> list[FormEvent]:
    """The events of a whole form; the data of a file as one."""
    parser = FormParser(CONTENT_TYPE)
    events: list[FormEvent] = []
    for chunk in chunks:
        for event in parser.feed(chunk):
            if isinstance(event, FileData) and isinstance(events[-1], FileData):
                events[-1] = FileData(events[-1].data + event.data)
            else:
                events.append(event)
    parser.finish()
    return events


def test_fields_and_files_in_any_order() -> None:
    purpose, file = Field("purpose", "user_data"), [FileBegins("file", "tides.txt"), FileData(b"High water")]
    assert read(form(PURPOSE, FILE)) == [purpose, *file]
    assert read(form(FILE, PURPOSE)) == [*file, purpose]
    assert read(form()) == []


def test_cut_anywhere_it_reads_the_same() -> None:
    body = b"early words\r\n" + form(part("file", TRICKY, filename="a\\b\u00e4.bin"), PURPOSE) + b"\r\nlate words"
    whole = read(body)
    assert whole == [FileBegins("file", "a\\b\u00e4.bin"), FileData(TRICKY), Field("purpose", "user_data")]
    for cut in range(len(body)):
        assert read(body[:cut], body[cut:]) == whole
    assert read(*(body[i : i + 1] for i in range(len(body)))) == whole


def test_a_form_must_be_whole() -> None:
    body = form(PURPOSE, FILE).removesuffix(b"\r\n")
    for end in range(len(body)):
        with pytest.raises(MalformedForm):
            read(body[:end])


@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data", "multipart/form-data; boundary=", f"multipart/form-data; boundary={'x' * 71}"],
)
def test_a_boundary_is_needed(content_type: str) -> None:
    with pytest.raises(MalformedForm):
        FormParser(content_type)


@pytest.mark.parametrize("content_type", [None, "", "application/json", f"multipart/mixed; boundary={BOUNDARY}"])
def test_other_types_are_refused(content_type: str | None) -> None:
    with pytest.raises(UnsupportedContentType, match="'multipart/form-data'"):
        FormParser(content_type)


HEADER = f"--{BOUNDARY}\r\n".encode()
HOSTILE = {
    "endless header": HEADER + b"X: " + b"x" * 5000,
    "many headers": HEADER + b"".join(b"X-%d: x\r\n" % i for i in range(100)) + b"\r\n",
    "no colon": HEADER + b"nonsense\r\n\r\nx\r\n",
    "header not UTF-8": HEADER + b'Content-Disposition: form-data; name="\xff"\r\n\r\n',
    "bare line feeds": HEADER.replace(b"\r", b"") + b'Content-Disposition: form-data; name="x"\n\nx\n',
    "no disposition": HEADER + b"Content-Type: text/plain\r\n\r\nx\r\n",
    "another disposition": HEADER + b'Content-Disposition: attachment; name="file"\r\n\r\nx\r\n',
    "no name": HEADER + b"Content-Disposition: form-data\r\n\r\nx\r\n",
    "endless parts": form(*[part("x", b"x")] * (MAX_PARTS + 1)),
    "long field": form(part("purpose", b"x" * (MAX_FIELD_BYTES + 1))),
    "field not UTF-8": form(part("purpose", b"\xff")),
    "transfer encoding": form(part("file", b"aGk=", "Content-Transfer-Encoding: base64", filename="x")),
    "length that lies": form(part("file", b"hello", "Content-Length: 3", filename="x")),
    "another boundary": form(FILE).replace(b"tide", b"ebb"),
    "bytes behind a boundary": form(FILE).replace(b"--tide--", b"--tide!!"),
    "nothing": b"",
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_hostile_forms_are_refused(body: bytes) -> None:
    for chunks in ([body], [body[i : i + 7] for i in range(0, len(body), 7)]):
        with pytest.raises(MalformedForm):
            read(*chunks)


def test_a_form_in_a_form_is_a_file_like_any_other() -> None:
    inner = form(part("file", b"inner", filename="inner")).replace(b"tide", b"ebb")
    nested = part("file", inner, "Content-Type: multipart/mixed; boundary=ebb", filename="outer")
    assert read(form(nested)) == [FileBegins("file", "outer"), FileData(inner)]
