"""JSON logs on standard error: an event code, opaque ids, and the trace they belong to."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import MutableMapping
from typing import Any, cast

from opentelemetry import trace

from shared.optional_packages import without

with without("rich", "better_exceptions"):
    import structlog

Logger = structlog.stdlib.BoundLogger

_NOISY_SECONDS = 10.0
"""aiokafka's reconnect logs up to 40 errors a second; one line of each kind in this time says as much."""


class _RateLimit(logging.Filter):
    """Lets one record of a template through per `_NOISY_SECONDS`."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this record is the first of its kind for a while."""
        now = time.monotonic()
        if now - self._last.get(record.msg, -_NOISY_SECONDS) < _NOISY_SECONDS:
            return False
        self._last[record.msg] = now
        return True


class _ForeignFormatter(logging.Formatter):
    """Lines of libraries: level, logger and template only. Their arguments and exception texts may quote what they handled."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one JSON line."""
        kind = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else None
        fields = {"event": "library", "logger": record.name, "level": record.levelname.lower(), "message": str(record.msg), "error": kind}
        return cast("str", structlog.processors.JSONRenderer(ensure_ascii=False)(None, "", {k: v for k, v in fields.items() if v}))


def _add_trace(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = format(context.trace_id, "032x")
    return event


def setup_logs(service: str, instance: str, level: str) -> None:
    """Configures structlog and the standard library's loggers for one process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_ForeignFormatter())
    handler.addFilter(_RateLimit())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _add_trace,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level.lower()),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service, instance=instance)


def get_logger() -> Logger:
    """The logger. The first argument is an event code; members are opaque ids, counts and codes, never values of people."""
    return cast("Logger", structlog.get_logger())
