"""OpenTelemetry traces: one span per request and per batch, never per event; exported only where the standard environment says so."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags, Tracer

from shared.optional_packages import without

with without("psutil"):
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

LINKS_MAX = 32
"""A batch of thousands links to a sample of its causes; more would cost more than it tells."""
_QUEUE_SPANS = 2_048
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def setup_tracing(service: str, instance: str) -> None:
    """Installs the tracer of this process. Without an OTLP endpoint in the environment spans are made, so ids travel, but sent nowhere."""
    provider = TracerProvider(resource=Resource.create({"service.name": f"kehu-{service}", "service.instance.id": instance}))
    if any(os.environ.get(name) for name in _ENDPOINTS):
        provider.add_span_processor(_exporting())
    trace.set_tracer_provider(provider)


def _exporting() -> SpanProcessor:
    # Loaded here: the exporter and its protobuf cost 5 MB, and most processes export nothing.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    # A full queue drops spans: export never holds up the work.
    return BatchSpanProcessor(OTLPSpanExporter(), max_queue_size=_QUEUE_SPANS)


def stop_tracing() -> None:
    """Sends what is queued and stops the exporter."""
    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):
        provider.shutdown()


def tracer() -> Tracer:
    """The tracer of this process."""
    return trace.get_tracer("kehu")


def current_traceparent() -> str | None:
    """W3C `traceparent` of the current span, or None outside of one."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def span_context(traceparent: str) -> SpanContext | None:
    """The context a `traceparent` names; None if it is malformed, since a sender's mistake must not stop the work."""
    parts = traceparent.split("-")
    if len(parts) != 4 or len(parts[1]) != 32 or len(parts[2]) != 16:
        return None
    try:
        context = SpanContext(int(parts[1], 16), int(parts[2], 16), is_remote=True, trace_flags=TraceFlags(int(parts[3], 16)))
    except ValueError:
        return None
    return context if context.is_valid else None


@contextmanager
def request_span(name: str, traceparent: str | None) -> Iterator[Span]:
    """The span around one HTTP request, under the caller's span where it names one."""
    parent = span_context(traceparent) if traceparent else None
    context = trace.set_span_in_context(NonRecordingSpan(parent)) if parent else None
    with tracer().start_as_current_span(name, context=context, kind=SpanKind.SERVER, record_exception=False, set_status_on_exception=False) as span:
        yield span


def _links(traceparents: Iterable[str | None]) -> list[Link]:
    links: list[Link] = []
    for traceparent in dict.fromkeys(traceparents):
        context = span_context(traceparent) if traceparent else None
        if context is not None:
            links.append(Link(context))
        if len(links) == LINKS_MAX:
            break
    return links


@contextmanager
def batch_span(topic: str, partitions: Iterable[int], group: str, count: int, traceparents: Iterable[str | None]) -> Iterator[Span]:
    """The span around one transaction's records, linked to at most `LINKS_MAX` of the spans that caused its records.

    An exception marks the span with its class name only; its text may hold personal data.
    """
    attributes: dict[str, str | int] = {
        "messaging.system": "kafka",
        "messaging.operation.type": "process",
        "messaging.operation.name": "process",
        "messaging.destination.name": topic,
        "messaging.destination.partition.id": ",".join(map(str, partitions)),
        "messaging.consumer.group.name": group,
        "messaging.batch.message_count": count,
    }
    with tracer().start_as_current_span(
        f"process {topic}",
        kind=SpanKind.CONSUMER,
        attributes=attributes,
        links=_links(traceparents),
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        try:
            yield span
        except BaseException as error:
            span.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise
