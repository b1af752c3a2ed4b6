"""Files → text, in the worker. What a file does to its reader is the file's fault: nothing here is ours to mend."""

from __future__ import annotations

import binascii
from collections.abc import Callable, Mapping

from completionist.chat.documents import DocumentKind
from completionist.media import markup, office, pdf, plain, sheets
from completionist.media.pages import Pages, Refusal

_EXTRA = "documents"

_READERS: Mapping[DocumentKind, Callable[[bytes, Pages], None]] = {
    "pdf": pdf.read_pdf,
    "docx": office.read_docx,
    "pptx": office.read_pptx,
    "xlsx": sheets.read_workbook,
    "csv": sheets.read_csv,
    "tsv": sheets.read_tsv,
    "html": markup.read_html,
    "text": plain.read_text,
}


def read_document(kind: DocumentKind, payload: bytes, pages: Pages, *, is_base64: bool) -> None:
    """Raises `Refusal`, `MemoryError`."""
    data = binascii.a2b_base64(payload) if is_base64 else payload
    try:
        _READERS[kind](data, pages)
    except (Refusal, MemoryError):
        raise
    except ModuleNotFoundError:
        raise Refusal(
            f"Reading {kind} files is not installed on this server: it needs pip install 'completionist[{_EXTRA}]'."
        ) from None
    except Exception:  # noqa: BLE001 - parsers raise what they like at a hostile file
        raise Refusal(f"It is no valid {kind} file.") from None
