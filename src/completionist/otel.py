"""Traces by OpenTelemetry: a span for each create call, after the conventions for generative AI, by OTLP over HTTP.

The standard `OTEL_*` variables say where to and how; without them nothing of this is imported. Spans are made when their
request is over and handed to a thread, which sends them: a collector that is slow or gone costs spans, never requests.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Mapping

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode, format_trace_id, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from completionist import __version__
from completionist.log import emit
from completionist.tracing import Trace
from completionist.types.completion import ChatCompletion, Usage
from completionist.types.formats import TextResponse
from completionist.types.request import ChatRequest

_log = logging.getLogger(__name__)

_CLOSE_WITHIN_S = 5.0
_MAX_TRACESTATE_CHARACTERS = 512
"""What has to be passed on at least (W3C Trace Context, 3.3.1.5); of a longer one nothing is."""

_MAX_MODEL_CHARACTERS = 256
"""Of a name that is no model's."""

Attributes = dict[str, AttributeValue]


class OpenTelemetry:
    """A `Tracer` that sends spans to a collector."""

    def __init__(self) -> None:
        """Raises `ValueError` where a variable has a value that is not taken."""
        logger = logging.getLogger("opentelemetry")
        logger.addHandler(_OurLog())
        logger.propagate = False
        exporter = OTLPSpanExporter()
        ours = Resource.create({"service.name": "completionist", "service.version": __version__})
        resource = ours.merge(OTELResourceDetector().detect())  # what the variables say wins
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("completionist", __version__)
        self._propagator = TraceContextTextMapPropagator()

    def record(self, trace: Trace) -> str:
        """The span of the request, and in it those of its stages."""
        offset_ns = time.time_ns() - round(time.monotonic() * 1e9)

        def at_ns(at_s: float) -> int:
            return offset_ns + round(at_s * 1e9)

        span = self._tracer.start_span(
            f"chat {trace.model}" if trace.served_model else "chat",
            context=self._propagator.extract(_carrier(trace)),
            kind=SpanKind.SERVER,
            attributes=_attributes(trace),
            start_time=at_ns(trace.started_s),
        )
        if trace.is_error:
            span.set_status(StatusCode.ERROR)
        context = set_span_in_context(span)
        for stage in trace.stages:
            self._tracer.start_span(stage.name, context, start_time=at_ns(stage.started_s)).end(at_ns(stage.ended_s))
        span.end(at_ns(trace.ended_s))
        return format_trace_id(span.get_span_context().trace_id)

    async def close(self) -> None:
        """What cannot be sent within a few seconds is lost."""
        ending = threading.Thread(target=self._provider.shutdown, name="telemetry", daemon=True)
        ending.start()
        await asyncio.to_thread(ending.join, _CLOSE_WITHIN_S)


class _OurLog(logging.Handler):
    """What the library has to say becomes lines of our log, which never block."""

    def emit(self, record: logging.LogRecord) -> None:
        emit(_log, record.levelno, "telemetry", reason=record.getMessage())


def _carrier(trace: Trace) -> Mapping[str, str]:
    """Whose child the span is. A malformed header is none (W3C Trace Context, 2.2 and 3.3)."""
    if trace.traceparent is None:
        return {}
    carrier = {"traceparent": trace.traceparent}
    if trace.tracestate and len(trace.tracestate) <= _MAX_TRACESTATE_CHARACTERS:
        carrier["tracestate"] = trace.tracestate
    return carrier


def _attributes(trace: Trace) -> Attributes:
    """As far as they are known: those of HTTP servers, those of generative AI, and ours."""
    known: Mapping[str, AttributeValue | None] = {
        "http.request.method": trace.method,
        "http.route": trace.route,
        "http.response.status_code": trace.status,
        "error.type": trace.error,
        "completionist.request_id": trace.request_id,
        "completionist.project": trace.project,
        "completionist.key": trace.key,
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "completionist",
        "gen_ai.request.model": trace.model[:_MAX_MODEL_CHARACTERS] if trace.model else None,
        "gen_ai.response.model": trace.served_model,
        "gen_ai.response.time_to_first_chunk": trace.time_to_first_chunk_s,
        **(_asked(trace.request) if trace.request else {}),
        **(_used(trace.usage) if trace.usage else {}),
        **(_answered(trace.completion) if trace.completion else {}),
    }
    return {name: value for name, value in known.items() if value is not None}


def _asked(request: ChatRequest) -> Mapping[str, AttributeValue | None]:
    """Numbers and names of kinds alone: a stop string may be anything that a client wrote."""
    is_spoken = "audio" in (request.modalities or ())
    return {
        "gen_ai.request.stream": bool(request.stream),
        "gen_ai.request.choice.count": request.n if request.n != 1 else None,
        "gen_ai.request.max_tokens": request.output_limit,
        "gen_ai.request.temperature": request.temperature,
        "gen_ai.request.top_p": request.top_p,
        "gen_ai.request.frequency_penalty": request.frequency_penalty,
        "gen_ai.request.presence_penalty": request.presence_penalty,
        "gen_ai.request.seed": request.seed,
        "gen_ai.output.type": "speech" if is_spoken else _written(request),
        "openai.request.service_tier": request.service_tier,
    }


def _written(request: ChatRequest) -> str:
    return "text" if isinstance(request.response_format, TextResponse | None) else "json"


def _used(usage: Usage) -> Mapping[str, AttributeValue | None]:
    return {
        "gen_ai.usage.input_tokens": usage.prompt_tokens,
        "gen_ai.usage.output_tokens": usage.completion_tokens,
        "gen_ai.usage.reasoning.output_tokens": usage.completion_tokens_details.reasoning_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.prompt_tokens_details.cached_tokens,
        "gen_ai.usage.cache_creation.input_tokens": usage.prompt_tokens_details.cache_write_tokens,
    }


def _answered(completion: ChatCompletion) -> Mapping[str, AttributeValue | None]:
    return {
        "gen_ai.response.id": completion.id,
        "gen_ai.response.finish_reasons": [choice.finish_reason for choice in completion.choices],
        "openai.response.service_tier": completion.service_tier,
        "openai.response.system_fingerprint": completion.system_fingerprint,
    }
