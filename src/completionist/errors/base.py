"""The roots of the family, and how messages show what a client sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

_MAX_ECHO_CHARACTERS = 64


def echo(text: str) -> str:
    """A client's string as messages repeat it: cut after 64 characters (section 9.3)."""
    return text if len(text) <= _MAX_ECHO_CHARACTERS else text[:_MAX_ECHO_CHARACTERS] + "..."


def quoted_list(values: Sequence[str], last: str = "and") -> str:
    """`'a'`; `'a' and 'b'`; `'a', 'b', and 'c'` (section 9.3)."""
    quoted = [f"'{value}'" for value in values]
    if len(quoted) <= 1:
        return "".join(quoted)
    if len(quoted) == 2:
        return f"{quoted[0]} {last} {quoted[1]}"
    return ", ".join(quoted[:-1]) + f", {last} {quoted[-1]}"


class APIError(Exception):
    """An answer other than 200. `headers` go out with it."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    code: ClassVar[str | None] = None

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.error_code = code if code is not None else self.code

    def __reduce__(self) -> tuple[Callable[..., APIError], tuple[object, ...]]:
        """Errors travel between processes, whatever their constructors ask for."""
        return _restored, (type(self), self.args, self.__dict__)

    @property
    def headers(self) -> Mapping[str, str]:
        """Extra response headers."""
        return {}


def _restored(cls: type[APIError], args: tuple[object, ...], state: dict[str, object]) -> APIError:
    error = cls.__new__(cls, *args)
    error.__dict__.update(state)
    return error


class InvalidRequest(APIError):
    """A fault of the request: the same request will fail again."""

    status = 400
    type = "invalid_request_error"


class OperatorError(Exception):
    """Commands end with its one line, which says what is wrong and how to mend it, and with `exit_code`."""

    exit_code: ClassVar[int] = 1
