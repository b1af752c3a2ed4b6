"""The seam to what reads the text in pictures for a model that does not see (contract 13.8).

[Text in the picture]
Total 42.00
[End of the picture]
"""

from __future__ import annotations

from typing import Literal, Protocol

from completionist.types.parts import Base64

ImageFault = Literal["invalid_image_format", "image_parse_error"]


class BadPicture(Exception):
    """What is wrong with it; `reason` is one more sentence for the client, where there is one to say."""

    def __init__(self, fault: ImageFault, reason: str = "") -> None:
        super().__init__(fault, reason)
        self.fault = fault
        self.reason = reason


class Unfetched(Exception):
    """A picture that is elsewhere cannot be had. Why is the operator's to know: a client could learn about the network."""


class PictureSource(Protocol):
    """Fetches pictures that are elsewhere."""

    @property
    def max_request_bytes(self) -> int:
        """Of all pictures of one request."""
        ...

    async def fetch(self, url: str, max_bytes: int) -> Base64:
        """What is at an http(s) address, decoded by nobody yet. Raises `Unfetched`."""
        ...


class PictureReader(Protocol):
    """Reads the text in pictures."""

    @property
    def missing(self) -> str | None:
        """Why it does not, as a sentence; None: it does."""
        ...

    @property
    def max_images(self) -> int:
        """Of one request."""
        ...

    async def text_in(self, data: Base64, *, is_small: bool, project: str) -> str:
        """Line by line. `is_small`: to be reduced as `detail` `low` is.

        Raises `BadPicture`, `Overloaded`, `ServerError`.
        """
        ...

    async def close(self) -> None: ...


def shown_text(text: str) -> str:
    """The text of a picture in the prompt."""
    return f"[Text in the picture]\n{text}\n[End of the picture]"
