"""The table of routes, and how a request finds its row.

Paths are matched as they came, before any decoding: one spelling of a path reaches a handler, every other one is 404.
What a `{name}` stands for is URL-decoded; `{name:path}` takes slashes too (contract, sections 1 and 1.5).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import unquote

from starlette.routing import compile_path

from completionist.api import completions, files, loaded, stored, system, usage
from completionist.api.exchange import Exchange
from completionist.api.openapi import publish
from completionist.api.services import Services
from completionist.errors import MethodNotAllowed, UnknownURL
from completionist.types.scopes import Access

Handler = Callable[[Exchange, Services], Awaitable[None]]


class Route(NamedTuple):
    """One row: every route says what it asks of its caller."""

    method: str
    path: str
    handler: Handler
    scope: Access


ROUTES: tuple[Route, ...] = (
    Route("POST", "/v1/chat/completions", completions.create, "model.request"),
    Route("GET", "/v1/chat/completions", stored.list_completions, "completions.read"),
    Route("GET", "/v1/chat/completions/{completion_id}", stored.retrieve, "completions.read"),
    Route("POST", "/v1/chat/completions/{completion_id}", stored.update, "completions.write"),
    Route("DELETE", "/v1/chat/completions/{completion_id}", stored.delete, "completions.write"),
    Route("GET", "/v1/chat/completions/{completion_id}/messages", stored.list_messages, "completions.read"),
    Route("POST", "/v1/files", files.create, "files.write"),
    Route("GET", "/v1/files", files.list_files, "files.read"),
    Route("GET", "/v1/files/{file_id}", files.retrieve, "files.read"),
    Route("GET", "/v1/files/{file_id}/content", files.content, "files.read"),
    Route("DELETE", "/v1/files/{file_id}", files.delete, "files.write"),
    Route("GET", "/v1/models", system.list_models, "model.read"),
    Route("GET", "/v1/models/{model:path}", system.retrieve_model, "model.read"),
    Route("DELETE", "/v1/models/{model:path}", system.delete_model, "model.read"),
    Route("GET", "/v1/organization/usage/completions", usage.completions, "usage.read"),
    Route("GET", "/openapi.json", publish(lambda: ROUTES), "public"),
    Route("GET", "/health", system.ready, "public"),
    Route("GET", "/health/live", system.live, "public"),
    Route("GET", "/health/ready", system.ready, "public"),
    Route("GET", "/metrics", system.metrics, "metrics.read"),
    Route("GET", "/admin/models", loaded.list_loaded, "admin"),
    Route("DELETE", "/admin/models/{model:path}", loaded.stop, "admin"),
)


class Table:
    """Finds the route of a request."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._rows = [(compile_path(route.path)[0], route) for route in routes]

    def find(self, method: str, path: str) -> tuple[Route, Mapping[str, str]]:
        """The route and its path parameters; `path` undecoded. Raises `UnknownURL`, `MethodNotAllowed`."""
        matches = [
            (match, route) for regex, route in self._rows if (match := regex.match(path)) and all(match.groups())
        ]
        if not matches:
            raise UnknownURL(method, path)
        for match, route in matches:
            if route.method == method:
                return route, {name: unquote(value) for name, value in match.groupdict().items()}
        raise MethodNotAllowed(method, path, [route.method for _, route in matches])
