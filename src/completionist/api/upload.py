"""What the form of an upload says about its file (contract, section 1.6). Fields come in any order, each once."""

from __future__ import annotations

import re

from completionist.errors import InvalidType, InvalidValue, MissingParameter, OutOfRange, UnknownParameter
from completionist.store.files import UploadTerms
from completionist.types.files import FILE_PURPOSES

MAX_FILENAME_CHARACTERS = 255
_MIN_EXPIRES_AFTER_S = 3600
_MAX_EXPIRES_AFTER_S = 2_592_000
_PARAMS = {
    "file": "file",
    "purpose": "purpose",
    "expires_after[anchor]": "expires_after.anchor",
    "expires_after[seconds]": "expires_after.seconds",
}
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_OUTSIDE_NAMES = re.compile(r"[/\\\x00-\x1f\x7f-\x9f]")


class UploadForm:
    """Field by field, refusing each as soon as it is there; `terms` at the end. Raises the errors of section 9.3."""

    def __init__(self) -> None:
        self._seen: dict[str, str] = {}

    def take_file(self, name: str, filename: str) -> None:
        """The head of a file. Its name is kept as it is shown, and never used as a path."""
        if self._param(name, filename) != "file":
            raise InvalidType(_PARAMS[name], expected="a string", got="a file")
        if (
            not 0 < len(filename) <= MAX_FILENAME_CHARACTERS
            or _OUTSIDE_NAMES.search(filename)
            or filename in {".", ".."}
        ):
            raise InvalidValue(
                "file",
                message=f"Invalid 'file': expected a file name of 1 to {MAX_FILENAME_CHARACTERS} characters, "
                "without slashes, backslashes and control characters.",
            )

    def take_field(self, name: str, value: str) -> None:
        match self._param(name, value):
            case "file":
                raise InvalidType("file", expected="a file", got="a string")
            case "purpose":
                _check_choice("purpose", value, FILE_PURPOSES)
            case "expires_after.anchor":
                _check_choice("expires_after.anchor", value, ("created_at",))
            case param:
                _check_seconds(param, value)

    def terms(self) -> UploadTerms:
        """Raises `MissingParameter`."""
        anchor, seconds = "expires_after[anchor]", "expires_after[seconds]"
        wanted = ["file", "purpose", *([anchor, seconds] if {anchor, seconds} & self._seen.keys() else [])]
        for name in wanted:
            if name not in self._seen:
                raise MissingParameter(_PARAMS[name])
        return UploadTerms(
            purpose=self._seen["purpose"],
            filename=self._seen["file"],
            expires_after_s=int(self._seen[seconds]) if seconds in self._seen else None,
        )

    def _param(self, name: str, value: str) -> str:
        if name not in _PARAMS:
            raise UnknownParameter(name)
        if name in self._seen:
            raise InvalidValue(_PARAMS[name], message=f"Invalid '{_PARAMS[name]}': given more than once.")
        self._seen[name] = value
        return _PARAMS[name]


def _check_choice(param: str, value: str, supported: tuple[str, ...]) -> None:
    if value not in supported:
        raise InvalidValue(param, value, supported)


def _check_seconds(param: str, value: str) -> None:
    if _INTEGER.fullmatch(value) is None:
        raise InvalidType(param, expected="an integer", got="a string")
    if int(value) < _MIN_EXPIRES_AFTER_S:
        raise OutOfRange(param, int(value), minimum=_MIN_EXPIRES_AFTER_S, decimal=False)
    if int(value) > _MAX_EXPIRES_AFTER_S:
        raise OutOfRange(param, int(value), maximum=_MAX_EXPIRES_AFTER_S, decimal=False)
