"""Files of all kinds, written by the programs that usually write them where one is at hand."""

from __future__ import annotations

import base64
import io
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import docx
import openpyxl
import pptx

PDF = "application/pdf"
LOCKED = b"/Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O <%s> /U <%s> >> /ID [<00> <00>]" % (b"00" * 32, b"01" * 32)
"""For a trailer: a password is wanted, and nobody knows which."""


def file_part(filename: str, content: bytes, media_type: str = "") -> dict[str, Any]:
    """A part of a message that carries a file."""
    data = f"data:{media_type};base64,{base64.b64encode(content).decode()}"
    return {"type": "file", "file": {"filename": filename, "file_data": data}}


def pdf(pages: Sequence[str], *, trailer: bytes = b"", squeezed: bytes | None = None) -> bytes:
    """One line of text on each page. `squeezed`: in place of the pages' contents, deflated twice."""
    n = len(pages)
    kids = b" ".join(b"%d 0 R" % (4 + 2 * i) for i in range(n))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, n),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for i, text in enumerate(pages):
        resources = b"/Resources << /Font << /F1 3 0 R >> >>"
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] %s /Contents %d 0 R >>" % (resources, 5 + 2 * i)
        )
        if squeezed is None:
            stream = b"BT /F1 12 Tf 50 700 Td (%s) Tj ET" % text.encode()
            objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
        else:
            header = b"<< /Filter [/FlateDecode /FlateDecode] /Length %d >>" % len(squeezed)
            objects.append(b"%s\nstream\n%s\nendstream" % (header, squeezed))
    return _with_table(objects, trailer)


def _with_table(objects: Sequence[bytes], trailer: bytes) -> bytes:
    body, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, start=1):
        places.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    head = b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(objects) + 1, table)
    end = b"trailer << /Size %d /Root 1 0 R %s >>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, trailer, len(body))
    return body + head + end


def pdf_with_a_circle() -> bytes:
    """Its page tree is a child of itself."""
    return _with_table([b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [2 0 R] /Count 1 >>"], b"")


def pdf_announcing(n_pages: int) -> bytes:
    """It has one page, and says that it has so many."""
    return pdf(["x"]).replace(b"/Count 1 ", b"/Count %d " % n_pages)


def squeezed_blanks(n_bytes: int) -> bytes:
    """Deflated twice: a millionth."""
    squeezer = zlib.compressobj(1)
    once = b"".join(squeezer.compress(b" " * 2**20) for _ in range(n_bytes >> 20)) + squeezer.flush()
    return zlib.compress(once)


def word_document() -> bytes:
    """A heading, a paragraph with a tab, a table, a deleted revision."""
    document = docx.Document()
    document.add_heading("Tides", level=1)
    document.add_paragraph("High water\tat noon.")
    table = document.add_table(rows=2, cols=2)
    for cell, text in zip(
        (cell for row in table.rows for cell in row.cells), ("Harbour", "Time", "Brest", "06:12"), strict=True
    ):
        cell.text = text
    return _saved(document)


def slides() -> bytes:
    """Two of them, the second with a table."""
    show = pptx.Presentation()
    first = show.slides.add_slide(show.slide_layouts[5])
    first.shapes.title.text = "Harbours"
    second = show.slides.add_slide(show.slide_layouts[5])
    second.shapes.title.text = "Depths"
    table = second.shapes.add_table(1, 2, 0, 0, 100, 100).table
    table.cell(0, 0).text, table.cell(0, 1).text = "Brest", "12 m"
    return _saved(show)


def workbook(rows: Mapping[str, Sequence[Sequence[object]]]) -> bytes:
    """Rows by the titles of sheets."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, values in rows.items():
        sheet = book.create_sheet(title)
        for row in values:
            sheet.append(list(row))
    return _saved(book)


def archive(entries: Mapping[str, bytes]) -> bytes:
    """A ZIP file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return buffer.getvalue()


def announcing(content: bytes, n_bytes: int) -> bytes:
    """A ZIP file whose last entry says that it is so long, once unpacked."""
    place = content.rindex(b"PK\x01\x02") + 24
    return content[:place] + n_bytes.to_bytes(4, "little") + content[place + 4 :]


def _saved(document: Any) -> bytes:
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()
