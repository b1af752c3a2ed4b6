"""HTTP/1.1 on one connection, bounded in every direction before any of our code sees a request.

The base class parses and speaks HTTP, and lets a client take all the time and memory it likes. Here

- a request is received within a deadline, from its first byte to its last, and a silent connection is closed;
- its URL and headers are bounded, and so is anything the parser would gather without telling us;
- bytes behind a request that is still being answered are not read as another one: no pipelining;
- an answer that stays unread for the send deadline ends the connection.

What is refused here is answered in the usual form, with a request id and an access-log line.
"""

from __future__ import annotations

import asyncio
import errno
from asyncio import TimerHandle
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from completionist import ids
from completionist.api import problems
from completionist.api.exchange import common_headers, log_unreadable
from completionist.errors import APIError, HeadersTooLarge, MalformedHTTP, ReceiptTimeout, URLTooLong
from completionist.metrics import Metrics
from completionist.settings import ServerSettings

MAX_URL_BYTES = 8192
MAX_HEADERS = 200


class GuardedProtocol(HttpToolsProtocol):
    """One per connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        settings: ServerSettings,
        metrics: Metrics,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._settings = settings
        self._metrics = metrics
        self._receipt_timer: TimerHandle | None = None
        self._send_timer: TimerHandle | None = None
        self._is_deaf = False
        """What still comes is dropped: this connection will be closed."""
        self._is_head_open = False
        self._is_message_open = False
        self._has_progressed = False
        self._n_head_bytes = 0
        self._n_stalled_bytes = 0
        self._fault: APIError = MalformedHTTP()

    # The connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]  # uvicorn narrows it to what it is
        self._start_receipt_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_receipt_timer()
        self._stop_send_timer()
        if isinstance(exc, OSError) and exc.errno == errno.ETIMEDOUT:
            self._metrics.unread.inc()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        super().shutdown()
        self._abort_if_closing_lasts()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._abort_if_closing_lasts()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._abort_if_closing_lasts()

    # What comes in

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            return
        self._unset_keepalive_if_required()
        self._start_receipt_timer()
        self._has_progressed = False
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._decline_upgrade(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError:
            self._refuse(self._fault)
            return
        self._n_stalled_bytes = 0 if self._has_progressed else self._n_stalled_bytes + len(data)
        if self._n_stalled_bytes > self._settings.max_header_bytes:
            self._refuse(HeadersTooLarge())

    def on_message_begin(self) -> None:
        if self._is_answering():
            raise ValueError("bytes behind a request that is being answered")
        super().on_message_begin()
        self._has_progressed = self._is_head_open = self._is_message_open = True
        self._n_head_bytes = 0

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > MAX_URL_BYTES:
            self._fault = URLTooLong()
            raise self._fault
        self._count_head_bytes(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_head_bytes(len(name) + len(value))
        if self._is_head_open:  # what comes behind the body is a trailer, which nobody asked for
            super().on_header(name, value)
        if len(self.headers) > MAX_HEADERS:
            self._fault = HeadersTooLarge()
            raise self._fault

    def on_headers_complete(self) -> None:
        if self._is_upgrade():
            return
        self._is_head_open = False
        self.scope["state"]["receipt_deadline_s"] = self._receipt_deadline_s
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._has_progressed = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._is_upgrade():
            return
        self._is_message_open = False
        self._stop_receipt_timer()
        super().on_message_complete()

    def _is_upgrade(self) -> bool:
        return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"

    def _decline_upgrade(self, rest: bytes) -> None:
        """Read the request again as if it had asked for nothing: the parser would take its body for another protocol."""
        kept = [
            (name, value) for name, value in self.headers if name not in {b"upgrade", b"connection", b"http2-settings"}
        ]
        line = b"%b %b HTTP/1.1" % (self.parser.get_method(), self.url)
        head = b"\r\n".join([line, *(b"%b: %b" % header for header in kept), b"", b""])
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(head + rest)

    def _count_head_bytes(self, n_bytes: int) -> None:
        self._has_progressed = True
        self._n_head_bytes += n_bytes
        if self._n_head_bytes > self._settings.max_header_bytes:
            self._fault = HeadersTooLarge()
            raise self._fault

    def _is_answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    # Deadlines

    def _start_receipt_timer(self) -> None:
        if self._receipt_timer is None:
            timeout_s = self._settings.receipt_timeout_s
            self._receipt_deadline_s = self.loop.time() + timeout_s
            self._receipt_timer = self.loop.call_later(timeout_s, self._end_receipt)

    def _stop_receipt_timer(self) -> None:
        if self._receipt_timer is not None:
            self._receipt_timer.cancel()
            self._receipt_timer = None

    def _end_receipt(self) -> None:
        """The deadline passed. A handler that waits for a body knows by itself and answers."""
        self._receipt_timer = None
        if self._is_head_open:
            self._refuse(ReceiptTimeout())
        elif self._is_answering():
            self.cycle.keep_alive = False
        else:
            self._close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._send_timer = self.loop.call_later(self._settings.send_timeout_s, self._abort_unread)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_send_timer()

    def _stop_send_timer(self) -> None:
        if self._send_timer is not None:
            self._send_timer.cancel()
            self._send_timer = None

    def _abort_unread(self) -> None:
        self._metrics.unread.inc()
        self.transport.abort()

    def _abort_if_closing_lasts(self) -> None:
        """A closing transport waits for its last bytes to be read: no longer than for others."""
        if self.transport.is_closing() and self._send_timer is None:
            self._send_timer = self.loop.call_later(self._settings.send_timeout_s, self.transport.abort)

    # Refusals

    def _refuse(self, error: APIError) -> None:
        """Answer `error` where no answer has begun; then, or behind that answer, close."""
        self._is_deaf = True
        if self._is_answering() and not self._is_message_open:
            self.cycle.keep_alive = False
            return
        if not (self._is_answering() and self.cycle.response_started):
            self._write_refusal(error)
        self._close()

    def _write_refusal(self, error: APIError) -> None:
        request_id, body = ids.request_id(), problems.body(error)
        headers = {**problems.headers(error), "connection": "close", "content-length": str(len(body))}
        raw = [*common_headers(request_id), *((name.encode(), value.encode()) for name, value in headers.items())]
        lines = [STATUS_LINE[error.status], *(b"%b: %b\r\n" % pair for pair in raw), b"\r\n", body]
        self.transport.write(b"".join(lines))
        self._metrics.requests.labels(error.status).inc()
        self._metrics.refused.labels(error.error_code or error.status).inc()
        log_unreadable(request_id, error.status, self.client)

    def _close(self) -> None:
        self.transport.close()
        self._abort_if_closing_lasts()
