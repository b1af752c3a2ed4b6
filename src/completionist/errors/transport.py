"""Requests that are no HTTP, no JSON, too long, too late or for nobody (contract, sections 1, 9.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from completionist.errors.base import InvalidRequest, echo

HELP_PLACE = "the documentation of this server"


class MalformedBody(InvalidRequest):
    """The body is empty, broken JSON, or JSON but no object."""

    def __init__(self) -> None:
        super().__init__(
            "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP "
            "library correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON. If you have "
            f"trouble figuring out how to fix this, please contact us through our help center at {HELP_PLACE}.)"
        )


class UnsupportedContentType(InvalidRequest):
    """A body that is not declared as what is `accepted`; `content_type` None where no header came."""

    code = "unsupported_content_type"

    def __init__(self, content_type: str | None, *, accepted: str = "application/json") -> None:
        tail = "Please try again with a supported content type."
        accepts = f"This API method only accepts '{accepted}' requests"
        if content_type is None:
            super().__init__(f"Missing Content-Type header. {accepts}. {tail}")
        else:
            sent = echo(content_type)
            super().__init__(
                f"Unsupported content type: '{sent}'. {accepts}, but you specified the header 'Content-Type: {sent}'. {tail}"
            )


class InvalidHeader(InvalidRequest):
    """A request header that breaks its documented form."""


class MalformedHTTP(InvalidRequest):
    """What came is not HTTP; the connection is closed."""

    def __init__(self) -> None:
        super().__init__("The request is not valid HTTP.")


class UnknownURL(InvalidRequest):
    status = 404

    def __init__(self, method: str, path: str) -> None:
        super().__init__(f"Invalid URL ({method} {echo(path)})")


class MethodNotAllowed(InvalidRequest):
    """`allowed`: the methods that exist on this path."""

    status = 405
    code = "method_not_supported"

    def __init__(self, method: str, path: str, allowed: Sequence[str]) -> None:
        super().__init__(f"Not allowed to {method} on {echo(path)}.")
        self._allowed = ", ".join(sorted(allowed))

    @property
    def headers(self) -> Mapping[str, str]:
        return {"allow": self._allowed}


class ReceiptTimeout(InvalidRequest):
    """The request did not arrive in time; the connection is closed."""

    status = 408

    def __init__(self) -> None:
        super().__init__("The request was not received in time.")

    @property
    def headers(self) -> Mapping[str, str]:
        return {"connection": "close"}


class BodyTooLarge(InvalidRequest):
    status = 413

    def __init__(self, maximum_bytes: int) -> None:
        super().__init__(f"The request body is larger than the limit of {maximum_bytes} bytes.")

    @property
    def headers(self) -> Mapping[str, str]:
        return {"connection": "close"}


class URLTooLong(InvalidRequest):
    status = 414

    def __init__(self) -> None:
        super().__init__("The URL of the request is too long.")


class HeadersTooLarge(InvalidRequest):
    status = 431

    def __init__(self) -> None:
        super().__init__("The headers of the request are too large.")
