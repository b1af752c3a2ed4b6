"""How much of a request is read, and for how long (contract, sections 9.2 and 10)."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.types import Receive

from completionist.api.attend import ClientGone
from completionist.errors import BodyTooLarge, InvalidHeader, ReceiptTimeout, UnsupportedContentType

_MAX_CLIENT_REQUEST_ID_CHARACTERS = 512


async def read_json_body(headers: Headers, receive: Receive, *, max_bytes: int, deadline_s: float) -> list[bytes]:
    """The body of a JSON request in parts, at most `max_bytes`, by `deadline_s` on the loop's clock.

    An honest length is judged before anything is read, any other by the running total. Raises `BodyTooLarge`,
    `UnsupportedContentType`, `ReceiptTimeout`, `ClientGone`.
    """
    if int(headers.get("content-length", 0)) > max_bytes:
        raise BodyTooLarge(max_bytes)
    _check_content_type(headers)
    try:
        async with asyncio.timeout_at(deadline_s):
            return await _read_body(receive, max_bytes)
    except TimeoutError:
        raise ReceiptTimeout from None


def client_request_id(headers: Headers) -> str | None:
    """`X-Client-Request-Id`, for the log. Raises `InvalidHeader`."""
    sent = headers.get("x-client-request-id")
    if sent is not None and (len(sent) > _MAX_CLIENT_REQUEST_ID_CHARACTERS or not sent.isascii()):
        raise InvalidHeader("Invalid 'X-Client-Request-Id' header: expected at most 512 ASCII characters.")
    return sent


def _check_content_type(headers: Headers) -> None:
    has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    sent = headers.get("content-type")
    if has_body and (sent is None or sent.partition(";")[0].strip().lower() != "application/json"):
        raise UnsupportedContentType(sent)


async def _read_body(receive: Receive, max_bytes: int) -> list[bytes]:
    parts: list[bytes] = []
    n_bytes = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        parts.append(message.get("body", b""))
        n_bytes += len(parts[-1])
        if n_bytes > max_bytes:
            raise BodyTooLarge(max_bytes)
        if not message.get("more_body", False):
            return parts
