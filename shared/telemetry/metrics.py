"""Every metric of Kehu: its name, unit and meaning. Labels are codes and topic names, never values or ids of people."""

from __future__ import annotations

from opentelemetry import metrics
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

_meter = metrics.get_meter("kehu")

SUBMISSIONS = _meter.create_counter("kehu_submissions", "1", "Submissions by outcome (accepted, duplicate, refused, quarantined) and reason code")
BATCHES = _meter.create_counter("kehu_batches", "1", "Partition batches committed, by topic and group")
RECORDS = _meter.create_counter("kehu_records", "1", "Records processed, by topic, group and outcome (applied, skipped, rejected, parked)")
BATCH_SECONDS = _meter.create_histogram("kehu_batch_duration", "s", "From fetch to relayed, by topic and group")
RETRIES = _meter.create_counter("kehu_retries", "1", "Transient failures waited out, by what failed")
OFFSET_GAPS = _meter.create_counter("kehu_offset_gaps", "1", "Offsets missing where none may be missing; any is an alarm")
PRODUCERS_REPLACED = _meter.create_counter("kehu_producers_replaced", "1", "Producers replaced after a failed send")
LAG_RECORDS = _meter.create_gauge("kehu_consumer_lag_records", "1", "Records behind the end of the topic, by topic, group and partition")
LAG_SECONDS = _meter.create_gauge("kehu_consumer_lag", "s", "Age of the oldest record not yet consumed, by topic, group and partition")
OUTBOX_DOCUMENTS = _meter.create_gauge("kehu_outbox_documents", "1", "Outbox documents waiting to be published")
OUTBOX_AGE = _meter.create_gauge("kehu_outbox_oldest_age", "s", "Age of the oldest outbox document")
DEAD_LETTERS = _meter.create_gauge("kehu_dead_letters", "1", "Dead letters kept, by state (dead, parked, redrive)")
MATCH_DECISIONS = _meter.create_counter("kehu_match_decisions", "1", "Identity decisions by kind (founded, attached, merged, kept_apart, given_up)")
SUPPRESSED = _meter.create_counter("kehu_suppressed", "1", "Records skipped because their key is destroyed or their row erased")
KEYS_OPENED = _meter.create_counter("kehu_keys_opened", "1", "Data keys asked for, by source (cache, store)")
READS = _meter.create_counter("kehu_customer_reads", "1", "Customers that people looked at, by what they looked at")
ERASURES = _meter.create_counter("kehu_erasures", "1", "Erasure requests by step reached")
REQUEST_SECONDS = _meter.create_histogram("kehu_http_request_duration", "s", "HTTP requests by route template, method and status")


def setup_metrics(service: str, instance: str) -> None:
    """Installs the meter of this process; figures are read from `/metrics`."""
    resource = Resource.create({"service.name": f"kehu-{service}", "service.instance.id": instance})
    metrics.set_meter_provider(MeterProvider(metric_readers=[PrometheusMetricReader()], resource=resource))


def exposition() -> tuple[bytes, str]:
    """All figures in Prometheus text form, and the content type."""
    return generate_latest(REGISTRY), CONTENT_TYPE_LATEST
