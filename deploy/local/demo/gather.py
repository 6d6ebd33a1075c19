"""Gathers the demo's figures from the services' own APIs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from deploy.local.demo.quality import PairwiseQuality, pairwise_quality
from deploy.local.demo.sources import person_of

LOOKUP_MAX = 1_000
_MINOR = 100
"""USD and CNY both have two decimals."""


async def revenue_by_month(analytics: httpx.AsyncClient, currency: str) -> list[tuple[str, float]]:
    """(month, amount) in the currency's unit."""
    answer = await _get(analytics, "/v1/series", metric="revenue", by="month", currency=currency)
    return [(point["at"], point["value"] / _MINOR) for point in answer["points"]]


async def summed(analytics: httpx.AsyncClient, metric: str) -> int:
    """A monthly metric summed over all months."""
    answer = await _get(analytics, "/v1/series", metric=metric, by="month")
    return sum(int(point["value"]) for point in answer["points"])


async def top_products(analytics: httpx.AsyncClient, currency: str) -> list[tuple[str, float]]:
    """(product, revenue), highest first."""
    answer = await _get(analytics, "/v1/top", metric="revenue", by="product", currency=currency, limit=10)
    return [(item["key"], item["value"] / _MINOR) for item in answer["items"]]


async def kpis(analytics: httpx.AsyncClient) -> dict[str, Any]:
    """Analytics' own headline."""
    return await _get(analytics, "/v1/kpis")


async def customers_of(dedup: httpx.AsyncClient, submission_ids: Sequence[str]) -> dict[str, str | None]:
    """The living customer of each submission."""
    found: dict[str, str | None] = {}
    for start in range(0, len(submission_ids), LOOKUP_MAX):
        response = await dedup.post("/v1/resolutions:lookup", json={"submission_ids": submission_ids[start : start + LOOKUP_MAX]})
        response.raise_for_status()
        found |= response.json()["customers"]
    return found


async def febrl_quality(dedup: httpx.AsyncClient, submission_ids: Mapping[str, str]) -> PairwiseQuality:
    """Precision and recall of the customers found against FEBRL's own truth, from message ids and their submission ids."""
    customers = await customers_of(dedup, list(submission_ids.values()))
    return pairwise_quality((person_of(message), customers[submission] or submission) for message, submission in submission_ids.items())


async def life_of(clients: Mapping[str, httpx.AsyncClient], submission_id: str) -> list[tuple[str, str, str]]:
    """The life of one submission as each service tells it, in the order of time."""
    steps = []
    for service, client in clients.items():
        response = await client.get(f"/v1/trace/{submission_id}")
        if response.status_code == 200:
            for step in response.json()["steps"]:
                detail = ", ".join(f"{name} {value}" for name, value in step.get("detail", {}).items())
                steps.append((step["at"], f"{service}: {step['step']}", detail))
    return sorted(steps)


async def _get(client: httpx.AsyncClient, path: str, **query: str | int) -> dict[str, Any]:
    response = await client.get(path, params=query)
    response.raise_for_status()
    body: dict[str, Any] = response.json()
    return body
