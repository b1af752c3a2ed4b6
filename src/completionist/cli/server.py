"""Asking the running server, as `ps` and `stop` do."""

from __future__ import annotations

import http.client
from typing import Annotated, TypeVar
from urllib.parse import urlsplit

import msgspec
import typer

from completionist.errors import OperatorError
from completionist.settings import ServerSettings

T = TypeVar("T")

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - an address to replace, not one to listen on

Url = Annotated[str | None, typer.Option("--url", help="Where the server is; by default where the settings put it.")]
ApiKey = Annotated[str | None, typer.Option("--api-key", envvar="API_KEY", help="A key, where the server wants one.")]


class NoServer(OperatorError):
    def __init__(self, address: str, reason: str) -> None:
        super().__init__(
            f"no server answers at {address} ({reason}): start it with 'completionist serve', or give --url"
        )


class ServerRefused(OperatorError):
    """What it said."""


class RunningServer:
    """The server at an address."""

    def __init__(self, settings: ServerSettings, url: str | None, api_key: str | None) -> None:
        host = _EVERYWHERE.get(settings.host, settings.host)
        parts = urlsplit(url or f"http://{f'[{host}]' if ':' in host else host}:{settings.port}")
        connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._address = parts.netloc
        self._connection = connect(parts.hostname or "", parts.port)
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}

    def ask(self, method: str, path: str, expected: type[T]) -> T:
        """The answer, however long it takes. Raises `NoServer`, `ServerRefused`."""
        try:
            self._connection.request(method, path, headers=self._headers)
            answer = self._connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise NoServer(self._address, str(error)) from None
        try:
            if answer.status != 200:
                raise ServerRefused(msgspec.json.decode(body, type=_Problem).error["message"])
            return msgspec.json.decode(body, type=expected)
        except (msgspec.MsgspecError, KeyError):
            raise ServerRefused(
                f"{self._address} does not answer as this server does (status {answer.status})"
            ) from None


class _Problem(msgspec.Struct):
    error: dict[str, str | None]
