"""PDF → text, page by page. Pictures, scripts and forms are left alone."""

from __future__ import annotations

from completionist.media.pages import Pages, Refusal


def read_pdf(data: bytes, pages: Pages) -> None:
    """Raises `Refusal`, and what the library raises."""
    import pypdfium2  # noqa: PLC0415 - an extra
    import pypdfium2.raw  # noqa: PLC0415 - an extra

    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        is_locked = error.err_code in (pypdfium2.raw.FPDF_ERR_PASSWORD, pypdfium2.raw.FPDF_ERR_SECURITY)
        raise Refusal("It is encrypted." if is_locked else "It is no valid pdf file.") from None
    pages.expect(len(document))
    for number in range(len(document)):
        page = document[number]
        text = page.get_textpage()
        pages.begin(f"Page {number + 1}")
        pages.add(text.get_text_bounded().replace("\r\n", "\n"))
        text.close()
        page.close()
