"""Whether traces are wanted, as the standard `OTEL_*` variables say, and what keeps them then."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from completionist.errors import OperatorError
from completionist.tracing import Tracer

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_EXPORTER = "OTEL_TRACES_EXPORTER"
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL = "http/protobuf"


class TelemetryRefused(OperatorError):
    """A variable of OpenTelemetry asks for what is not here."""

    exit_code: ClassVar[int] = 2


def tracer(variables: Mapping[str, str]) -> Tracer | None:
    """None where nobody wants traces, and then nothing of OpenTelemetry is imported. Raises `TelemetryRefused`."""
    asking = _asking(variables)
    if asking is None:
        return None
    for name in _PROTOCOLS:
        if variables.get(name, _PROTOCOL) != _PROTOCOL:
            raise TelemetryRefused(f"{name} is {variables[name]}: this server speaks {_PROTOCOL} alone")
    try:
        from completionist.otel import OpenTelemetry  # noqa: PLC0415 - an extra, which is imported where it is wanted
    except ImportError as error:
        raise TelemetryRefused(
            f"{asking} is set, but OpenTelemetry is not installed ({error.name}): pip install 'completionist[otel]', "
            "or set OTEL_SDK_DISABLED=true"
        ) from None
    try:
        return OpenTelemetry()
    except ValueError as error:
        raise TelemetryRefused(
            f"a variable of OpenTelemetry (OTEL_…) has a value that it does not take: {error}"
        ) from None


def _asking(variables: Mapping[str, str]) -> str | None:
    """The variable by which somebody asks for traces."""
    if variables.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    match variables.get(_EXPORTER, ""):
        case "":
            return next((name for name in _ENDPOINTS if variables.get(name)), None)
        case "none":
            return None
        case "otlp":
            return _EXPORTER
        case other:
            raise TelemetryRefused(f"{_EXPORTER} is {other}: this server has otlp, and none")
