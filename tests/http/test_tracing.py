"""OpenTelemetry: one span for each create call, where the standard variables say so, and no word of what was said."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise

import pytest

from completionist.app import serve
from completionist.engine.base import Prompt
from completionist.engine.scripted import Move, Pause
from completionist.settings import LogSettings, Settings
from completionist.telemetry import TelemetryRefused, tracer
from tests.support import raw
from tests.support.collector import Collector, Span, collecting
from tests.support.process import server_process, short
from tests.support.server import MODEL, RunningServer, eventually, running_server

PAUSE_S = 0.5
TRACE_ID, PARENT_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SECRETS = (b"of the prompt", b"High water", b"STOP-HERE", b"somebody")
VARIABLES = {"OTEL_BSP_SCHEDULE_DELAY": "50", "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test"}
SAID = raw.chat(
    messages=[{"role": "user", "content": "of the prompt"}],
    stop=["STOP-HERE"],
    user="somebody",
    temperature=0.5,
    max_completion_tokens=20,
    seed=7,
    n=2,
)


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


def two_words(prompt: Prompt) -> Sequence[Sequence[Move]]:
    return [[b"High", Pause(PAUSE_S), b" water"]] * prompt.n


@contextmanager
def variables(**named: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**VARIABLES, **named}.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def traced(collector: Collector) -> Iterator[RunningServer]:
    with (
        variables(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url),
        running_server(two_words, tracer=tracer(os.environ)) as server,
    ):
        yield server


def span_of(server: RunningServer, collector: Collector, body: bytes, *headers: str) -> tuple[Span, raw.Reply]:
    reply = raw.send(server.port, raw.request("POST", "/v1/chat/completions", *headers, body=body))
    return collector.span_of(reply.headers["x-request-id"]), reply


def test_an_answer_is_a_span_with_its_stages(traced: RunningServer, collector: Collector) -> None:
    headers = (f"traceparent: 00-{TRACE_ID}-{PARENT_ID}-01", "tracestate: vendor=1")
    span, reply = span_of(traced, collector, SAID, *headers)
    completion = raw.json_of(reply)
    assert (span.name, span.sent.kind, span.sent.status.code) == (f"chat {MODEL}", span.sent.SPAN_KIND_SERVER, 0)
    assert (span.trace_id, span.parent_id, span.sent.trace_state) == (TRACE_ID, PARENT_ID, "vendor=1")
    assert span.resource["service.name"] == "completionist"
    assert span.resource["deployment.environment.name"] == "test"
    assert span.attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/chat/completions",
        "http.response.status_code": 200,
        "completionist.request_id": reply.headers["x-request-id"],
        "completionist.project": "default",
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "completionist",
        "gen_ai.output.type": "text",
        "gen_ai.request.model": MODEL,
        "gen_ai.request.stream": False,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 20,
        "gen_ai.request.seed": 7,
        "gen_ai.request.choice.count": 2,
        "gen_ai.response.model": MODEL,
        "gen_ai.response.id": completion["id"],
        "gen_ai.response.finish_reasons": ["stop", "stop"],
        "gen_ai.usage.input_tokens": completion["usage"]["prompt_tokens"],
        "gen_ai.usage.output_tokens": 6,
        "gen_ai.usage.reasoning.output_tokens": 0,
        "gen_ai.usage.cache_read.input_tokens": 0,
        "gen_ai.usage.cache_creation.input_tokens": 0,
        "openai.response.service_tier": "default",
        "openai.response.system_fingerprint": completion["system_fingerprint"],
    }
    stages = collector.children_of(span)
    assert [stage.name for stage in stages] == ["prepare", "queue", "prefill", "decode"]
    times = [(stage.sent.start_time_unix_nano, stage.sent.end_time_unix_nano) for stage in stages]
    assert times[0][0] == span.sent.start_time_unix_nano
    assert times[-1][1] == span.sent.end_time_unix_nano
    assert all(before[1] == after[0] for before, after in pairwise(times))
    assert times[-1][1] - times[-1][0] >= PAUSE_S * 1e9


def test_a_stream_says_when_it_began(traced: RunningServer, collector: Collector) -> None:
    with raw.connection(traced.port) as sock:
        sock.sendall(raw.request("POST", "/v1/chat/completions", "Connection: close", body=raw.chat(stream=True)))
        head = raw.parsed(raw.read_to_end(sock))
    span = collector.span_of(head.headers["x-request-id"])
    assert span.attributes["gen_ai.request.stream"] is True
    took_s = (span.sent.end_time_unix_nano - span.sent.start_time_unix_nano) / 1e9
    assert 0 < span.attributes["gen_ai.response.time_to_first_chunk"] < took_s - PAUSE_S / 2
    assert span.attributes["gen_ai.response.finish_reasons"] == ["stop"]
    assert span.parent_id == ""


@pytest.mark.parametrize(
    ("body", "name", "error"),
    [
        (b"{", "chat", "400"),
        (raw.chat(temperature=3), f"chat {MODEL}", "decimal_above_max_value"),
        (raw.chat(model="m" * 9999), "chat", "model_not_found"),
    ],
    ids=["not JSON", "a wrong value", "no such model"],
)
def test_refusals_say_why_and_are_no_errors_of_the_server(
    traced: RunningServer, collector: Collector, body: bytes, name: str, error: str
) -> None:
    span, reply = span_of(traced, collector, body, "traceparent: 00-broken")
    assert (span.name, span.attributes["error.type"], span.sent.status.code) == (name, error, 0)
    assert span.attributes["http.response.status_code"] == reply.status
    assert len(span.attributes.get("gen_ai.request.model", "")) <= 256
    assert [stage.name for stage in collector.children_of(span)] == ["prepare"]


def test_who_leaves_is_seen(traced: RunningServer, collector: Collector) -> None:
    n_spans = len(collector.spans)
    with raw.connection(traced.port) as sock:
        sock.sendall(raw.request("POST", "/v1/chat/completions", body=raw.chat(stream=True)))
        raw.read_head(sock)
    eventually(lambda: len(collector.spans) > n_spans)
    span = next(one for one in collector.spans[n_spans:] if one.parent_id == "")
    assert span.attributes["error.type"] == "cancelled"
    assert span.attributes["gen_ai.usage.output_tokens"] >= 0
    assert [stage.name for stage in collector.children_of(span)][-1] == "decode"


def test_nothing_that_was_said_leaves_the_server(traced: RunningServer, collector: Collector) -> None:
    span_of(traced, collector, SAID)
    raw.send(traced.port, raw.request("GET", "/v1/models"))
    everything = b"".join(collector.bodies)
    assert [secret for secret in SECRETS if secret in everything] == []
    assert {span.name for span in collector.spans} <= {f"chat {MODEL}", "chat", "prepare", "queue", "prefill", "decode"}


def test_the_variables_are_enough_and_the_end_hands_on_what_is_left() -> None:
    with (
        collecting() as collector,
        variables(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{collector.url}/v1/traces", OTEL_SERVICE_NAME="chat-eu",
                  OTEL_BSP_SCHEDULE_DELAY="60000"),
        server_process(settings=Settings(log=LogSettings(format="json"))) as server,
    ):  # fmt: skip
        raw.json_of(raw.send(server.port, raw.request("POST", "/v1/chat/completions", body=raw.chat())))
        assert collector.spans == []
        server.process.terminate()
        code, log = server.wait()
        (span,) = [span for span in collector.spans if span.parent_id == ""]
    assert code == 0
    assert span.resource["service.name"] == "chat-eu"
    assert f'"trace_id":"{span.trace_id}"' in log


@pytest.mark.parametrize("hangs", [True, False], ids=["a collector that hangs", "no collector"])
def test_a_bad_collector_costs_spans_and_nothing_else(*, hangs: bool) -> None:
    with collecting() as collector:
        collector.hang.set()
        url = collector.url if hangs else "http://127.0.0.1:1"
        with (
            variables(OTEL_EXPORTER_OTLP_ENDPOINT=url, OTEL_EXPORTER_OTLP_TIMEOUT="0.5"),
            running_server(tracer=tracer(os.environ)) as server,  # the guard watches its event loop
        ):
            for _ in range(20):
                raw.json_of(raw.send(server.port, raw.request("POST", "/v1/chat/completions", body=raw.chat())))
            eventually(lambda: server.log_lines(event="telemetry"))


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
        {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
        {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://127.0.0.1:1"},
    ],
)
def test_it_is_off_without_its_variables(environ: Mapping[str, str]) -> None:
    assert tracer(environ) is None


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER is zipkin"),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_PROTOCOL is grpc",
        ),
    ],
)
def test_what_it_cannot_do_ends_the_start(environ: Mapping[str, str], named: str) -> None:
    with pytest.raises(TelemetryRefused, match=named):
        tracer(environ)


def test_without_the_extra_a_start_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "completionist.otel", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(
        TelemetryRefused, match=r"OTEL_EXPORTER_OTLP_ENDPOINT is set.*pip install 'completionist\[otel\]'"
    ):
        serve(Settings(), short, lambda _: None)
