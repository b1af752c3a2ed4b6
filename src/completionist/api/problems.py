"""Every exception becomes an error body here, and nowhere else (contract, section 9)."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import msgspec

from completionist.errors import APIError, ServerError
from completionist.log import emit_exception

_logger = logging.getLogger(__name__)


class Problem(msgspec.Struct):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(msgspec.Struct):
    error: Problem


def to_api_error(exception: BaseException, request_id: str) -> APIError:
    """What the client may know of `exception`. What is not an `APIError` is ours: it is logged, and stays in the log."""
    if isinstance(exception, APIError):
        if exception.__cause__ is not None and isinstance(exception, ServerError):
            emit_exception(_logger, "error", exception, request_id=request_id)
        return exception
    emit_exception(_logger, "error", exception, request_id=request_id)
    return ServerError()


def body(error: APIError) -> bytes:
    """The JSON of an error answer, and of an error event in a stream."""
    return msgspec.json.encode(ErrorBody(Problem(error.message, error.type, error.param, error.error_code)))


def headers(error: APIError) -> Mapping[str, str]:
    """The headers that go with `error`, besides those of every answer."""
    return {"content-type": "application/json", **error.headers}
