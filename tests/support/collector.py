"""A collector of OpenTelemetry spans on loopback."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Sent

from tests.support.server import eventually


class Span(NamedTuple):
    """A span as it arrived."""

    name: str
    sent: Sent
    attributes: Mapping[str, Any]
    resource: Mapping[str, Any]

    @property
    def trace_id(self) -> str:
        return self.sent.trace_id.hex()

    @property
    def parent_id(self) -> str:
        return self.sent.parent_span_id.hex()


class Collector:
    """What came to it so far."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.bodies: list[bytes] = []
        self.hang = threading.Event()
        """Set: it takes connections and answers nobody."""
        self.ended = threading.Event()

    @property
    def spans(self) -> list[Span]:
        return [
            Span(span.name, span, _values(span.attributes), _values(resource.resource.attributes))
            for body in self.bodies
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def span_of(self, request_id: str) -> Span:
        """The one of a request; waits for it."""
        wanted = ("completionist.request_id", request_id)
        (span,) = eventually(lambda: [one for one in self.spans if wanted in one.attributes.items()])
        return span

    def children_of(self, span: Span) -> list[Span]:
        """In the order of time."""
        children = [one for one in self.spans if one.sent.parent_span_id == span.sent.span_id]
        return sorted(children, key=lambda one: one.sent.start_time_unix_nano)


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector at `/v1/traces` of its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if collector.hang.is_set():
                collector.ended.wait()
                return
            collector.bodies.append(body)
            self.send_response(200 if self.path == "/v1/traces" else 404)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the name is the class's)
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector = Collector(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield collector
        collector.ended.set()
        server.shutdown()
        thread.join()


def _values(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    return [_value(one) for one in value.array_value.values] if kind == "array_value" else getattr(value, str(kind))
