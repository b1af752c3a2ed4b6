"""How much of a request is read, and for how long (contract, sections 9.2 and 10)."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator

from starlette.datastructures import Headers
from starlette.types import Message, Receive

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
    return [part async for part in body_parts(receive, max_bytes=max_bytes, deadline_s=deadline_s)]


async def body_parts(
    receive: Receive, *, max_bytes: int, deadline_s: float, silence_s: float = math.inf
) -> AsyncIterator[bytes]:
    """A body of at most `max_bytes` as it comes, to its end by `deadline_s`, never silent for longer than `silence_s`.

    Raises `BodyTooLarge`, `ReceiptTimeout`, `ClientGone`.
    """
    n_bytes = 0
    has_more = True
    while has_more:
        message = await _message(receive, deadline_s, silence_s)
        if message["type"] == "http.disconnect":
            raise ClientGone
        part = message.get("body", b"")
        n_bytes += len(part)
        if n_bytes > max_bytes:
            raise BodyTooLarge(max_bytes)
        yield part
        has_more = message.get("more_body", False)


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


async def _message(receive: Receive, deadline_s: float, silence_s: float) -> Message:
    now_s = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout_at(min(deadline_s, now_s + silence_s)):
            return await receive()
    except TimeoutError:
        raise ReceiptTimeout from None
