"""PDF → text, page by page, and pictures of pages. Scripts and what is attached are left alone."""

from __future__ import annotations

from typing import Any

from completionist.media.pages import MAX_ASPECT, Pages, Refusal


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
        if pages.wants_picture:
            _add_picture(page, pages)
        page.close()


def _add_picture(page: Any, pages: Pages) -> None:  # noqa: ANN401 - the library is untyped
    """Of a page that is no stripe: its longer side is the longest that is wanted, so its size is ours, not the file's."""
    longer, shorter = max(page.get_size()), min(page.get_size())
    if shorter * MAX_ASPECT < longer:
        return
    bitmap = page.render(scale=pages.max_picture_side / longer, rev_byteorder=True, prefer_bgrx=False)
    pages.add_picture(bitmap.to_numpy()[: pages.max_picture_side, : pages.max_picture_side, :3])
    bitmap.close()
