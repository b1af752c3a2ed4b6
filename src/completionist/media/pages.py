"""What readers of files write into: text under headings and pictures of pages, within limits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, groupby

import numpy as np
from numpy.typing import NDArray

from completionist.media.frames import PagePicture

MAX_ASPECT = 200
"""Longer pictures are stripes, which no preprocessor is made for; some end the process over what they do not expect."""


class Refusal(Exception):
    """The payload cannot be taken; the text is a sentence for the client."""


class Pages:
    """`begin` a page where the format has any, `add` its text, and its picture while one is wanted; then `pieces`.

    `picture_paths`: of files, which are there, for the pictures of the first pages: three bytes a pixel, row by row."""

    def __init__(
        self, *, max_pages: int, max_characters: int, picture_paths: Sequence[str] = (), max_picture_side: int = 0
    ) -> None:
        self._max_pages = max_pages
        self._max_characters = max_characters
        self._n_pages = self._n_characters = 0
        self._picture_paths = picture_paths
        self.max_picture_side = max_picture_side
        self._n_pictures = 0
        self._pieces: list[str | PagePicture] = []

    def expect(self, n_pages: int) -> None:
        """Raises `Refusal` where there are more than are read: better before the first than after the last."""
        if n_pages > self._max_pages:
            raise Refusal(f"It has {n_pages} pages, of which at most {self._max_pages} are read.")

    def begin(self, heading: str) -> None:
        """A page, slide or sheet. Raises `Refusal`."""
        self._n_pages += 1
        self.expect(self._n_pages)
        self.add(f"\n[{heading}]\n" if self._pieces else f"[{heading}]\n")

    def add(self, text: str) -> None:
        """Raises `Refusal`."""
        self._n_characters += len(text)
        if self._n_characters > self._max_characters:
            raise Refusal(f"It has more than {self._max_characters} characters of text.")
        self._pieces.append(text)

    @property
    def wants_picture(self) -> bool:
        return self._n_pictures < len(self._picture_paths)

    def add_picture(self, pixels: NDArray[np.uint8]) -> None:
        """Rows of red, green and blue."""
        with open(self._picture_paths[self._n_pictures], "r+b") as file:  # noqa: PTH123 - whoever asked may have left
            file.write(np.ascontiguousarray(pixels).data)
        height, width = pixels.shape[:2]
        self.add("\n")
        self._pieces.append(PagePicture(index=self._n_pictures, width=width, height=height))
        self._n_pictures += 1

    def pieces(self) -> tuple[str | PagePicture, ...]:
        """In their order; no two texts follow each other."""
        runs = groupby(self._pieces, type)
        return tuple(chain.from_iterable(run if kind is PagePicture else [_text(run)] for kind, run in runs))


def _text(run: Iterable[str | PagePicture]) -> str:
    return "".join(piece for piece in run if isinstance(piece, str))
