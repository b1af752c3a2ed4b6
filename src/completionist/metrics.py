"""What the server counts, in Prometheus' form. Names end as vLLM's do, so that its dashboards need only another prefix."""

from __future__ import annotations

from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_1_0_0

CONTENT_TYPE = CONTENT_TYPE_PLAIN_1_0_0

_PREFIX = "completionist_"
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250)


class Load(Protocol):
    """Sequences, as of the engine's last step."""

    @property
    def running(self) -> int: ...

    @property
    def waiting(self) -> int: ...


class HasLoad(Protocol):
    """An engine as the gauges see it."""

    @property
    def is_ready(self) -> bool: ...

    @property
    def stats(self) -> Load: ...


class HasAvailability(Protocol):
    """A store as the gauges see it."""

    @property
    def is_available(self) -> bool: ...


class Metrics:
    """One set of counters per server; nothing is global."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = self._counter("requests", "Answers by status code.", "status")
        self.refused = self._counter("requests_refused", "Requests refused with a 4xx or a 503, by error code.", "code")
        self.failed = self._counter("requests_failed", "Accepted requests that ended in an error of ours.")
        self.cancelled = self._counter(
            "requests_cancelled", "Requests whose client left before the answer was complete."
        )
        self.unread = self._counter("connections_closed_unread", "Connections closed at the send deadline.")
        self.success = self._counter("request_success", "Finished choices.", "finished_reason")
        self.prompt_tokens = self._counter("prompt_tokens", "Prompt tokens of finished requests.")
        self.cached_tokens = self._counter("prompt_tokens_cached", "Prompt tokens that were read from a prefix cache.")
        self.generation_tokens = self._counter("generation_tokens", "Generated tokens of finished requests.")
        self.time_to_first_token = self._histogram("time_to_first_token_seconds", "From the request to its first text.")
        self.media_encode = self._histogram(
            "media_encode_seconds",
            "Encoding the pictures and sounds of a request; no entry where there was nothing to encode.",
        )
        self.request_latency = self._histogram(
            "e2e_request_latency_seconds", "From the request to the end of the answer."
        )
        self.model_loads = self._counter(
            "model_loads", "Models loaded, and those that could not be.", "model_name", "outcome"
        )
        self.model_unloads = self._counter("model_unloads", "Models unloaded, by why.", "model_name", "reason")
        self._running = self._gauge("num_requests_running", "Sequences that hold streams.")
        self._waiting = self._gauge("num_requests_waiting", "Sequences in the queue.")
        self._ready = self._gauge("engine_ready", "1 while the engine takes requests.")
        self._storage = Gauge(
            _PREFIX + "storage_available", "1 while the database takes writes.", registry=self._registry
        )

    def watch(self, engine: HasLoad, model: str) -> None:
        """Read the load of `engine` whenever the metrics are asked for."""
        self._running.labels(model).set_function(lambda: engine.stats.running)
        self._waiting.labels(model).set_function(lambda: engine.stats.waiting)
        self._ready.labels(model).set_function(lambda: engine.is_ready)

    def unwatch(self, model: str) -> None:
        """Its engine is gone."""
        for gauge in (self._running, self._waiting, self._ready):
            gauge.remove(model)

    def watch_store(self, store: HasAvailability) -> None:
        self._storage.set_function(lambda: store.is_available)

    def exposition(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return generate_latest(self._registry)

    def _counter(self, name: str, documentation: str, *labels: str) -> Counter:
        return Counter(_PREFIX + name, documentation, labels, registry=self._registry)

    def _gauge(self, name: str, documentation: str) -> Gauge:
        return Gauge(_PREFIX + name, documentation, ["model_name"], registry=self._registry)

    def _histogram(self, name: str, documentation: str) -> Histogram:
        return Histogram(_PREFIX + name, documentation, buckets=_SECONDS, registry=self._registry)
