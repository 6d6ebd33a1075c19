"""JSON logs on standard error: an event code, opaque ids, and the trace they belong to."""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import MutableMapping
from typing import Any, TextIO, cast

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
        now, message = time.monotonic(), f"{_message(record)} {_place(record)}"
        if now - self._last.get(message, -_NOISY_SECONDS) < _NOISY_SECONDS:
            return False
        self._last[message] = now
        return True


_ASYNCIO_SAYS = (
    "Task exception was never retrieved",
    "Future exception was never retrieved",
    "Exception in callback",
    "Task was destroyed but it is pending!",
)
_WARNING = re.compile(r"(?P<place>[^\n]*?:\d+): (?P<kind>\w+): ")


_OURS = "kehu."
"""Loggers of this project: their arguments are class names and codes by rule, their `extra` topics, groups and partitions."""
_PLACES = ("topic", "group", "partition")


def _place(record: logging.LogRecord) -> dict[str, Any]:
    """Where one of our own lines comes from."""
    return {name: value for name in _PLACES if record.name.startswith(_OURS) and (value := getattr(record, name, None)) is not None}


def _message(record: logging.LogRecord) -> str:
    """What of a line holds no values: all of our own; of a library's its template, or of one that comes ready-made what is known to be fixed.

    asyncio writes exceptions, callbacks and their arguments into the line itself, `warnings` the text of the warning; both may quote a person.
    """
    text = str(record.msg)
    if record.name.startswith(_OURS):
        return record.getMessage()
    if record.name == "asyncio":
        return next((known for known in _ASYNCIO_SAYS if text.startswith(known)), "asyncio reports an error")
    if record.name == "py.warnings":
        found = _WARNING.match(text)
        return f"{found['kind']} at {found['place']}" if found else "a warning"
    return text.split("\n", 1)[0]


class _ForeignFormatter(logging.Formatter):
    """Lines of the standard library's loggers: of libraries level, logger and template only, since arguments and exception texts may quote
    what they handled; of ours, which know the rule, the whole message and where it comes from.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record as one JSON line."""
        fields = {
            "event": "kehu" if record.name.startswith(_OURS) else "library",
            "logger": record.name,
            "level": record.levelname.lower(),
            "message": _message(record),
            "error": record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else None,
            **_place(record),
        }
        return cast("str", structlog.processors.JSONRenderer(ensure_ascii=False)(None, "", {k: v for k, v in fields.items() if v is not None}))


def _add_trace(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = format(context.trace_id, "032x")
    return event


def foreign_lines(stream: TextIO) -> logging.Handler:
    """Writes the lines of libraries, as far as they hold no values."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_ForeignFormatter())
    handler.addFilter(_RateLimit())
    return handler


def setup_logs(service: str, instance: str, level: str) -> None:
    """Configures structlog and the standard library's loggers for one process."""
    logging.basicConfig(handlers=[foreign_lines(sys.stderr)], level=logging.WARNING, force=True)
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
