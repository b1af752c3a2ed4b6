"""A create call that is over, as tracers see it."""

from __future__ import annotations

from collections.abc import Iterator

from completionist.api.exchange import Exchange
from completionist.chat.deltas import Times
from completionist.tracing import Stage, Trace


def traced(exchange: Exchange) -> Trace:
    """The trace of an exchange whose answer has been sent, or never will be."""
    started_s, ended_s = exchange.started_s, exchange.started_s + exchange.elapsed_s
    answer = exchange.answer
    return Trace(
        started_s=started_s,
        ended_s=ended_s,
        stages=tuple(_stages(answer.times if answer else Times(), started_s, ended_s)),
        time_to_first_chunk_s=exchange.time_to_first_chunk_s,
        traceparent=exchange.headers.get("traceparent"),
        tracestate=exchange.headers.get("tracestate"),
        method=exchange.method,
        route=exchange.route,
        status=exchange.status,
        error=_error(exchange),
        is_error=exchange.outcome == "failed" or (exchange.status or 0) >= 500,
        request_id=exchange.request_id,
        project=exchange.caller.project,
        key=exchange.caller.key,
        model=exchange.model,
        served_model=exchange.served_model,
        request=exchange.request,
        usage=exchange.usage or (answer.usage if answer else None),
        completion=exchange.completion,
    )


def _error(exchange: Exchange) -> str | None:
    if exchange.outcome == "completed":
        return None
    return "cancelled" if exchange.outcome == "cancelled" else exchange.error_code or str(exchange.status)


def _stages(times: Times, started_s: float, ended_s: float) -> Iterator[Stage]:
    """Each goes on until the next one begins, the last until the end: also where the answer was cut off in it."""
    begun = {"prepare": started_s, "queue": times.accepted_s, "prefill": times.started_s, "decode": times.evaluated_s}
    reached = [(name, at_s) for name, at_s in begun.items() if at_s is not None]
    for (name, from_s), (_, to_s) in zip(reached, [*reached[1:], ("", ended_s)], strict=True):
        yield Stage(name, from_s, max(from_s, to_s))
