"""One event, one line, on standard error: plain or JSON, always escaped, never with message content or keys.

The event loop only puts records on a queue; a thread formats and writes them, so that a stuck terminal or a full disk
delays nobody. When the queue is full, lines are dropped, never requests.
"""

from __future__ import annotations

import logging
import logging.handlers
import queue
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

import msgspec

from completionist.settings import LogSettings

_MAX_VALUE_CHARACTERS = 512
_MAX_TRACE_CHARACTERS = 16_384
_MAX_QUEUED_RECORDS = 10_000
_MAX_FLUSH_S = 2.0
_ROOT = "completionist"


def emit(logger: logging.Logger, level: int, event: str, **fields: object) -> None:
    """Log `event` with `fields`; those that are None are left out. With an exception under way use `emit_exception`."""
    logger.log(level, event, extra={"fields": fields})


def emit_exception(logger: logging.Logger, event: str, error: BaseException, **fields: object) -> None:
    """Log an error of ours with its trace, on one line."""
    logger.error(event, exc_info=error, extra={"fields": fields})


def escape(text: str) -> str:
    """`text` without anything a terminal or a log reader could act on: control, format and bidirectional characters."""
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(c if c.isprintable() and c != "\\" else c.encode("unicode_escape").decode() for c in text)


@contextmanager
def logging_to(stream: TextIO | None, settings: LogSettings) -> Iterator[None]:
    """Write the log of this process to `stream` (None: standard error) for as long as the context is open."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_JSONFormatter() if settings.format == "json" else _TextFormatter())
    records: queue.Queue[logging.LogRecord | None] = queue.Queue(_MAX_QUEUED_RECORDS)
    writer = threading.Thread(target=_write, args=(records, handler), name="log", daemon=True)
    root = logging.getLogger(_ROOT)
    root.setLevel(settings.level.upper())
    root.propagate = False
    entrance = _Entrance(records)
    root.addHandler(entrance)
    writer.start()
    try:
        yield
    finally:
        root.removeHandler(entrance)
        with suppress(queue.Full):
            records.put(None, timeout=_MAX_FLUSH_S)
        writer.join(_MAX_FLUSH_S)


def _write(records: queue.Queue[logging.LogRecord | None], handler: logging.Handler) -> None:
    for record in iter(records.get, None):
        handler.handle(record)


class _Entrance(logging.handlers.QueueHandler):
    """Hands records over as they are; formatting is the thread's work."""

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (the name is logging's)
        """A full queue loses the line and nothing else."""


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        facts = [f"{name}={_quoted(value)}" for name, value in _facts(self, record).items()]
        return " ".join([_timestamp(record), record.levelname.lower(), escape(record.getMessage()), *facts])


class _JSONFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        head = {"time": _timestamp(record), "level": record.levelname.lower(), "event": escape(record.getMessage())}
        facts = {
            name: _cut(escape(value), name) if isinstance(value, str) else value
            for name, value in _facts(self, record).items()
        }
        return msgspec.json.encode(head | facts, enc_hook=str).decode()


def _facts(formatter: logging.Formatter, record: logging.LogRecord) -> dict[str, object]:
    facts = {name: value for name, value in getattr(record, "fields", {}).items() if value is not None}
    if record.exc_info:
        facts["exception"] = formatter.formatException(record.exc_info)
    return facts


def _timestamp(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"


def _quoted(value: object) -> str:
    text = _cut(escape(str(value)), "exception" if "\n" in str(value) else "")
    return text if text and not set(text) & set(' "=') else '"' + text.replace('"', '\\"') + '"'


def _cut(text: str, name: str) -> str:
    limit = _MAX_TRACE_CHARACTERS if name == "exception" else _MAX_VALUE_CHARACTERS
    return text if len(text) <= limit else text[:limit] + "..."
