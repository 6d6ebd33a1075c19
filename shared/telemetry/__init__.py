"""What operations see: traces, metrics and logs. None of them may carry personal data or message keys."""

from shared.telemetry.logs import Logger, get_logger, setup_logs
from shared.telemetry.tracing import batch_span, current_traceparent, request_span, setup_tracing, stop_tracing, tracer

__all__ = ["Logger", "batch_span", "current_traceparent", "get_logger", "request_span", "setup_logs", "setup_tracing", "stop_tracing", "tracer"]
