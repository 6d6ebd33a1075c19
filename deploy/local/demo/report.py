"""What the demo reports: figures gathered from the services, printed and written as one HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from deploy.local.demo.quality import PairwiseQuality


@dataclass(slots=True)
class SourceFigures:
    """What happened to one source's submissions at the door."""

    name: str
    sent: int = 0
    accepted: int = 0
    duplicate: int = 0
    refused: int = 0
    quarantined: int = 0
    refused_reasons: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Report:
    """Everything the demo shows.

    Attributes:
        events: accepted at the door.
        counted_by_analytics, counted_by_profile: those of them that arrived there; the demo fails where these differ.
        lag_records: read from Kafka and MongoDB when all had arrived.
        revenue_by_month: (month, amount in the currency's unit) by currency.
        top_products: (product, revenue) of the generated part.
        cpu_microseconds: CPU per event by process.
        life: steps of one customer's life, as (time, what, detail).
        addresses: (what, URL) to look at.
    """

    sources: Sequence[SourceFigures]
    seconds: float
    events: int
    counted_by_analytics: int
    counted_by_profile: int
    customers: int
    merges: int
    new_buyers: int
    returning_buyers: int
    revenue_by_month: dict[str, list[tuple[str, float]]]
    top_products: list[tuple[str, float]]
    febrl: PairwiseQuality
    lag_records: int
    dead_letters: int
    cpu_microseconds: dict[str, float]
    life: list[tuple[str, str, str]]
    addresses: list[tuple[str, str]]

    @property
    def events_per_second(self) -> float:
        """Accepted events by the whole time from the first request until the last is counted."""
        return self.events / self.seconds if self.seconds else 0.0

    @property
    def headline(self) -> list[tuple[str, str]]:
        """The figures that fit on one screen."""
        return [
            ("accepted = counted by analytics = by profile", f"{self.events:,} = {self.counted_by_analytics:,} = {self.counted_by_profile:,}"),
            ("customers", f"{self.customers:,}"),
            ("merges", f"{self.merges:,}"),
            ("new / returning buyers, summed over months", f"{self.new_buyers:,} / {self.returning_buyers:,}"),
            ("FEBRL3 pairwise precision / recall", f"{self.febrl.precision:.4f} / {self.febrl.recall:.4f}"),
            ("lag (records)", f"{self.lag_records:,}"),
            ("dead letters", f"{self.dead_letters:,}"),
            ("time, first request to last one counted", f"{self.seconds:.1f} s"),
            ("events per second", f"{self.events_per_second:,.0f}"),
            ("CPU per event, all processes", f"{sum(self.cpu_microseconds.values()):,.0f} µs"),
        ]


def print_report(report: Report, console: Console) -> None:
    """Prints the report for people."""
    _print_sources(report, console)
    _print_pairs(console, "Result", ("figure", "value"), report.headline)
    _print_pairs(console, "CPU per event", ("process", "µs"), [(name, f"{value:,.0f}") for name, value in report.cpu_microseconds.items()])
    for currency, months in report.revenue_by_month.items():
        _print_pairs(console, f"Revenue by month ({currency})", ("month", "amount"), [(month, f"{amount:,.2f}") for month, amount in months])
    _print_pairs(
        console, "Top products (generated persons, CNY)", ("product", "revenue"), [(name, f"{amount:,.2f}") for name, amount in report.top_products]
    )
    life = Table("time", "what", "detail", title="One generated customer's life")
    for step in report.life:
        life.add_row(*step)
    console.print(life)
    _print_pairs(console, "Look at", ("what", "address"), report.addresses)


def _print_sources(report: Report, console: Console) -> None:
    table = Table("source", "sent", "accepted", "duplicate", "refused", "quarantined", "refused because", title="At the door")
    for source in report.sources:
        figures = (source.sent, source.accepted, source.duplicate, source.refused, source.quarantined)
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in source.refused_reasons.items())
        table.add_row(source.name, *(f"{figure:,}" for figure in figures), reasons)
    console.print(table)


def _print_pairs(console: Console, title: str, columns: tuple[str, str], rows: Sequence[tuple[str, str]]) -> None:
    table = Table(title=title)
    table.add_column(columns[0])
    table.add_column(columns[1], justify="right")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def as_json(report: Report) -> dict[str, Any]:
    """The report as plain values, for `report.json`."""
    return {
        "headline": dict(report.headline),
        "sources": {source.name: {name: getattr(source, name) for name in SourceFigures.__slots__ if name != "name"} for source in report.sources},
        "cpu_microseconds_per_event": report.cpu_microseconds,
        "revenue_by_month": report.revenue_by_month,
        "top_products": report.top_products,
    }
