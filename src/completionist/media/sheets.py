"""Spreadsheets → rows of comma-separated values: the first 1,000 of each sheet (contract 8.7)."""

from __future__ import annotations

import csv
import datetime as dt
import io
import itertools
import warnings
import zipfile
from collections.abc import Iterable, Sequence

from completionist.media.office import check_archive
from completionist.media.pages import Pages
from completionist.media.plain import decoded

_MAX_ROWS = 1000
_MAX_FIELD_CHARACTERS = 2**20


def read_workbook(data: bytes, pages: Pages) -> None:
    """xlsx. Formulas show the values that were saved with them. Raises what the library raises."""
    import openpyxl  # noqa: PLC0415 - an extra

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        check_archive(archive)
    with warnings.catch_warnings(action="ignore"):  # of features that have no text
        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True, keep_links=False)
        pages.expect(len(book.worksheets))
        for sheet in book.worksheets:
            pages.begin(f"Sheet {sheet.title}")
            _add_rows(([_shown(value) for value in row] for row in sheet.iter_rows(values_only=True)), pages)


def read_csv(data: bytes, pages: Pages) -> None:
    """The separator is the one of comma and semicolon that the first line has more of. Raises `Refusal`, `csv.Error`."""
    text = decoded(data)
    first_line = text.partition("\n")[0]
    _read_separated(text, ";" if first_line.count(";") > first_line.count(",") else ",", pages)


def read_tsv(data: bytes, pages: Pages) -> None:
    """Raises `Refusal`, `csv.Error`."""
    _read_separated(decoded(data), "\t", pages)


def _read_separated(text: str, separator: str, pages: Pages) -> None:
    csv.field_size_limit(_MAX_FIELD_CHARACTERS)
    _add_rows(csv.reader(io.StringIO(text, newline=""), delimiter=separator), pages)


def _add_rows(rows: Iterable[Sequence[str]], pages: Pages) -> None:
    all_rows = iter(rows)
    for row in itertools.islice(all_rows, _MAX_ROWS):
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(_without_trailing_blanks(row))
        pages.add(line.getvalue())
    if next(all_rows, None) is not None:
        pages.add(f"[These are the first {_MAX_ROWS} rows; there are more.]\n")


def _without_trailing_blanks(row: Sequence[str]) -> Sequence[str]:
    n = len(row)
    while n and not row[n - 1]:
        n -= 1
    return row[:n]


def _shown(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).upper()
        case dt.datetime() if value.time() == dt.time():
            return value.date().isoformat()
        case dt.datetime():
            return value.isoformat(" ")
        case _:
            return str(value)
