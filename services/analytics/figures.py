"""Figures for people: sums of the counters over all partitions, from committed state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from services.analytics.mongo import COUNTERS
from shared.storage import Document, Store

Metric = Literal["submissions", "orders", "refunds", "revenue", "quantity", "new_buyers", "returning_buyers"]
Grain = Literal["day", "month"]
Split = Literal["channel", "kind", "product", "currency"]

_TOTALS = ("submissions", "orders", "refunds", "customers", "buyers", "repeat_buyers", "merges")
_SALES: Mapping[str, str] = {"revenue": "amount", "quantity": "quantity"}
_MONTHLY = frozenset({"new_buyers", "returning_buyers"})
SPLITS: Mapping[str, Mapping[str, str]] = {
    "submissions": {"channel": "first", "kind": "second"},
    "revenue": {"product": "first", "currency": "second"},
    "quantity": {"product": "first", "currency": "second"},
}
"""By which of its sides a metric can be split, and where the counter keeps it."""


class Figures:
    """Reads the counters. Every call is one aggregation; figures lag the topic by less than a second when nothing is behind."""

    def __init__(self, store: Store) -> None:
        self._counters = store.collection(COUNTERS)

    async def totals(self) -> dict[str, Any]:
        """Counts in all, and revenue in the smallest unit by currency."""
        groups = await self._sum({}, {"metric": "$metric", "currency": {"$cond": [{"$eq": ["$metric", "sales"]}, "$second", ""]}})
        counts = {group["_id"]["metric"]: group["n"] for group in groups if group["_id"]["metric"] != "sales"}
        revenue = {group["_id"]["currency"]: group["amount"] for group in groups if group["_id"]["metric"] == "sales" and group["n"]}
        return {name: counts.get(name, 0) for name in _TOTALS} | {"revenue_minor": dict(sorted(revenue.items()))}

    async def series(
        self, metric: Metric, by: Grain, first: str, last: str, split: Split | None = None, currency: str | None = None
    ) -> list[dict[str, Any]]:
        """Points `at`, `value` and, if it was asked for, `split` in order of time; periods without anything are left out.

        `first` and `last` are ISO 8601 periods, both included, or empty.
        """
        monthly = metric in _MONTHLY
        key: Document = {"at": "$period" if by == "day" or monthly else {"$substrBytes": ["$period", 0, 7]}}
        if split is not None:
            key["split"] = f"${SPLITS[metric][split]}"
        groups = await self._sum(_filter(metric, first, last, currency, monthly), key)
        points = [{**group["_id"], "value": group[_measure(metric)]} for group in groups if group["n"]]
        return sorted(points, key=lambda point: tuple(point[name] for name in key))

    async def top_products(self, metric: Metric, currency: str | None, first: str, last: str, limit: int) -> list[dict[str, Any]]:
        """Products with the highest value, ties in order of code. Money of different currencies is never added up."""
        groups = await self._sum(_filter(metric, first, last, currency, monthly=False), {"key": "$first", "currency": "$second"})
        items = [{**group["_id"], "value": group[_measure(metric)]} for group in groups if group["n"]]
        return sorted(items, key=lambda item: (-item["value"], item["key"], item["currency"]))[:limit]

    async def _sum(self, wanted: Document, key: Document) -> list[Document]:
        sums = {name: {"$sum": f"${name}"} for name in ("n", "quantity", "amount")}
        return await self._counters.aggregate([{"$match": wanted}, {"$group": {"_id": key, **sums}}])


def _measure(metric: str) -> str:
    return _SALES.get(metric, "n")


def _filter(metric: str, first: str, last: str, currency: str | None, monthly: bool) -> Document:
    wanted: Document = {"metric": "sales" if metric in _SALES else metric}
    width = 7 if monthly else 10
    # A month compares before its days, and U+FFFF behind them, so that a period of either grain is included whole.
    period = ({"$gte": first[:width]} if first else {}) | ({"$lte": last[:width] + "\uffff"} if last else {})
    if period:
        wanted["period"] = period
    if currency is not None and metric in _SALES:
        wanted["second"] = currency
    return wanted
