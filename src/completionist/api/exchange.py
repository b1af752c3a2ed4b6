"""One request and its answer: what every handler gets, and what the access log says at the end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Literal

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from completionist import ids
from completionist.api import sse
from completionist.api.limiter import Meter
from completionist.api.sse import EventStream
from completionist.chat.service import Answer
from completionist.log import emit
from completionist.types.caller import Caller
from completionist.types.completion import ChatCompletion, Usage
from completionist.types.request import ChatRequest

_logger = logging.getLogger(__name__)

Outcome = Literal["completed", "refused", "failed", "cancelled"]

_API_VERSION = b"2020-10-01"
_METERED = frozenset({200, 400, 429})
"""Answers that say what is left of the limits (contract, section 9.4)."""


class Exchange:
    """Filled in as the request passes through the pipeline."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.request_id = ids.request_id()
        self.started_s = asyncio.get_running_loop().time()
        self.method: str = scope["method"]
        self.path: str = scope["raw_path"].decode("latin-1")
        self.query: bytes = scope["query_string"]
        self.headers = Headers(scope=scope)
        self.client_host: str = scope["client"][0] if scope["client"] else ""
        self.receipt_deadline_s: float = scope["state"]["receipt_deadline_s"]
        self.receive = receive
        self.route = ""
        """The path of the route that was found."""
        self.params: Mapping[str, str] = {}
        self.caller = Caller()
        self.is_authenticated = False
        self.is_replayed = False
        """Whether this is the answer of an earlier request with the same idempotency key."""
        self.client_request_id: str | None = None
        self.model: str | None = None
        """As the client names it."""
        self.served_model: str | None = None
        """The name of the model itself, where the client used another one too."""
        self.end_user: str | None = None
        """As the client names it: `safety_identifier`, else `user`."""
        self.meter: Meter | None = None
        """Of a create call."""
        self.request: ChatRequest | None = None
        """Of a create call that could be read."""
        self.answer: Answer | None = None
        """The one under way."""
        self.completion: ChatCompletion | None = None
        """The answer, once it is complete."""
        self.time_to_first_chunk_s: float | None = None
        self.usage: Usage | None = None
        self.status: int | None = None
        self.outcome: Outcome = "completed"
        self.error_code: str | None = None
        self.trace_id: str | None = None
        self.events: EventStream | None = None
        self._send = send

    @property
    def elapsed_s(self) -> float:
        return asyncio.get_running_loop().time() - self.started_s

    async def send(self, message: Message) -> None:
        """Send, with the headers of every answer on its start (contract, section 9.4)."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message["headers"], *self._common_headers()]
        await self._send(message)

    async def open_events(self) -> EventStream:
        """Begin an event stream; what goes wrong from here on is an event in it."""
        headers = [(b"content-type", sse.CONTENT_TYPE), (b"cache-control", b"no-cache")]
        if self.headers.get("connection", "").lower() != "close":
            headers.append((b"connection", b"keep-alive"))
        await self.send({"type": "http.response.start", "status": 200, "headers": headers})
        self.events = EventStream(self._send)
        return self.events

    async def respond(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        """A whole answer at once."""
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        length = (b"content-length", b"%d" % len(body))
        await self.send({"type": "http.response.start", "status": status, "headers": [*raw, length]})
        await self.send({"type": "http.response.body", "body": body})

    async def send_parts(self, parts: AsyncIterator[bytes], n_bytes: int, headers: Mapping[str, str]) -> bytes:
        """A long answer, each part when the client has taken the one before, but for the last part, which it returns.

        That is for `finish_parts`: who has the last byte may ask again at once, so the answer must be over by then.
        """
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        length = (b"content-length", b"%d" % n_bytes)
        await self.send({"type": "http.response.start", "status": 200, "headers": [*raw, length]})
        last = b""
        async for part in parts:
            if last:
                await self.send({"type": "http.response.body", "body": last, "more_body": True})
            last = part
        return last

    async def finish_parts(self, last: bytes) -> None:
        await self.send({"type": "http.response.body", "body": last})

    async def respond_json(self, body: bytes) -> None:
        await self.respond(200, body, {"content-type": "application/json"})

    def log(self) -> None:
        """The access-log line."""
        usage = self.usage
        emit(
            _logger,
            logging.INFO,
            "request",
            request_id=self.request_id,
            method=self.method,
            path=self.path,
            status=self.status,
            outcome=self.outcome,
            error_code=self.error_code,
            duration_ms=round(self.elapsed_s * 1000),
            project=self.caller.project if self.is_authenticated else None,
            key=self.caller.key,
            model=self.model,
            served_model=self.served_model,
            end_user=self.end_user,
            prompt_tokens=usage.prompt_tokens if usage else None,
            completion_tokens=usage.completion_tokens if usage else None,
            client=self.client_host,
            client_request_id=self.client_request_id,
            trace_id=self.trace_id,
        )

    def _common_headers(self) -> list[tuple[bytes, bytes]]:
        headers = common_headers(self.request_id)
        if self.is_authenticated:
            headers += [
                (b"openai-processing-ms", b"%d" % round(self.elapsed_s * 1000)),
                (b"openai-organization", self.caller.organization.encode()),
                (b"openai-project", self.caller.project.encode()),
            ]
        if self.meter is not None and self.status in _METERED:
            headers += self.meter.headers()
        if self.is_replayed:
            headers.append((b"idempotent-replayed", b"true"))
        return headers


def log_unreadable(request_id: str, status: int, client: tuple[str, int] | None) -> None:
    """The access-log line of what never became an exchange."""
    emit(_logger, logging.INFO, "request", request_id=request_id, status=status, outcome="refused",
         client=client[0] if client else None)  # fmt: skip


def common_headers(request_id: str) -> list[tuple[bytes, bytes]]:
    """What even the answer to an unreadable request carries."""
    return [
        (b"x-request-id", request_id.encode()),
        (b"openai-version", _API_VERSION),
        (b"x-content-type-options", b"nosniff"),
    ]
