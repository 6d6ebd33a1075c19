"""What really stands in the read models after a run, gathered through the services' own doors and from their documents."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from deploy.local.stack import Stack
from shared.storage import Store
from tests.chaos.oracle import Expected, Name
from tests.chaos.stack import Clients

LOOKUP_MAX = 1_000


@dataclass(slots=True)
class Observed:
    """The final state.

    Attributes:
        customer_of: by (channel, message id).
        rows: documents in final state by "service.collection".
    """

    customer_of: dict[Name, str]
    rows: dict[str, int]
    kpis: dict[str, Any]
    channel_days: Counter[tuple[str, str]]
    revenue: Counter[str]
    quantity: Counter[str]
    new_buyers: Counter[str]
    returning_buyers: Counter[str]
    profile_kinds: Counter[str]
    customers_active: int
    consents: dict[str, dict[str, str]]
    outbox: int
    dead_letters: int


async def observe(stack: Stack, clients: Clients, submission_ids: Mapping[Name, str]) -> Observed:
    """Reads everything the oracle speaks about."""
    rows = await _rows(stack)
    customers = await _customers(clients["dedup"], list(submission_ids.values()))
    customer_of = {name: str(customers[submission]) for name, submission in submission_ids.items()}
    kinds, active = await _profiles(stack)
    return Observed(
        customer_of=customer_of,
        rows=rows,
        kpis=await _get(clients["analytics"], "/v1/kpis"),
        channel_days=await _channel_days(clients["analytics"]),
        revenue=await _top(clients["analytics"], "revenue"),
        quantity=await _top(clients["analytics"], "quantity"),
        new_buyers=await _series(clients["analytics"], "new_buyers"),
        returning_buyers=await _series(clients["analytics"], "returning_buyers"),
        profile_kinds=kinds,
        customers_active=active,
        consents=await _consents(clients["privacy"], set(customer_of.values())),
        outbox=rows["outbox"],
        dead_letters=rows["dead_letters"],
    )


def differences(expected: Expected, observed: Observed) -> list[str]:
    """Everything that is not as it must be; empty means exact."""
    total = sum(expected.submissions_by_kind.values())
    clusters: defaultdict[str, set[Name]] = defaultdict(set)
    for name, customer in observed.customer_of.items():
        clusters[customer].add(name)
    consents = {frozenset(members): observed.consents[customer] for customer, members in clusters.items()}
    checks: list[tuple[str, object, object]] = [
        ("partition of submissions", expected.clusters, {frozenset(members) for members in clusters.values()}),
        ("source records", total, observed.rows["dedup.source_records"]),
        ("profile contributions", total, observed.rows["profile.contributions"]),
        ("analytics contributions", total, observed.rows["analytics.contributions"]),
        ("timeline items by kind", expected.submissions_by_kind, observed.profile_kinds),
        ("customers, profile", len(expected.clusters), observed.customers_active),
        ("customers, analytics", len(expected.clusters), observed.kpis["customers"]),
        ("submissions, analytics", total, observed.kpis["submissions"]),
        ("orders", expected.orders, observed.kpis["orders"]),
        ("submissions by channel and day", expected.submissions_by_channel_day, observed.channel_days),
        ("revenue by product", expected.revenue_minor, observed.revenue),
        ("quantity by product", expected.quantity, observed.quantity),
        ("new buyers by month", expected.new_buyers, observed.new_buyers),
        ("returning buyers by month", expected.returning_buyers, observed.returning_buyers),
        ("consents in force", expected.consents, consents),
        ("outbox documents left", 0, observed.outbox),
        ("dead letters", 0, observed.dead_letters),
    ]
    return [f"{what}: expected {_short(wanted)}, found {_short(found)}" for what, wanted, found in checks if wanted != found]


def digest(observed: Observed, golden: Mapping[str, Any]) -> str:
    """Hash of the final state; each customer is named by its smallest submission, since ids and versions may differ between runs.

    Args:
        golden: by customer id, what profile believes (opened), without ids and times of arrival.
    """
    clusters: defaultdict[str, list[Name]] = defaultdict(list)
    for name, customer in observed.customer_of.items():
        clusters[customer].append(name)
    state = {
        "customers": sorted(
            (sorted(members), golden.get(customer), sorted(observed.consents[customer].items())) for customer, members in clusters.items()
        ),
        "counters": [sorted(counter.items()) for counter in (observed.channel_days, observed.revenue, observed.quantity, observed.new_buyers)],
    }
    return hashlib.sha256(json.dumps(state, sort_keys=True, default=str).encode()).hexdigest()


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:300]}..."


async def _rows(stack: Stack) -> dict[str, int]:
    rows: dict[str, int] = {"outbox": 0, "dead_letters": 0}
    for service in stack.services:
        store = await Store.connect(stack.mongodb_uri("operator"), database=service, namespace=stack.namespace)
        for collection in ("source_records", "contributions"):
            rows[f"{service}.{collection}"] = await store.collection(collection).count({})
        for collection in ("outbox", "dead_letters"):
            rows[collection] += await store.collection(collection).count({})
        store.close()
    return rows


async def _profiles(stack: Stack) -> tuple[Counter[str], int]:
    store = await Store.connect(stack.mongodb_uri("operator"), database="profile", namespace=stack.namespace)
    kinds: Counter[str] = Counter()
    active = 0
    for document in await store.collection("customers").find({"state": "active"}):
        active += 1
        kinds.update(document["kinds"])
    store.close()
    return kinds, active


async def _customers(dedup: httpx.AsyncClient, submission_ids: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for start in range(0, len(submission_ids), LOOKUP_MAX):
        response = await dedup.post("/v1/resolutions:lookup", json={"submission_ids": submission_ids[start : start + LOOKUP_MAX]})
        response.raise_for_status()
        found |= response.json()["customers"]
    return found


async def _channel_days(analytics: httpx.AsyncClient) -> Counter[tuple[str, str]]:
    answer = await _get(analytics, "/v1/series", metric="submissions", by="day", split="channel")
    return Counter({(point["split"], point["at"]): point["value"] for point in answer["points"] if point["value"]})


async def _series(analytics: httpx.AsyncClient, metric: str) -> Counter[str]:
    answer = await _get(analytics, "/v1/series", metric=metric, by="month")
    return Counter({point["at"]: point["value"] for point in answer["points"] if point["value"]})


async def _top(analytics: httpx.AsyncClient, metric: str) -> Counter[str]:
    answer = await _get(analytics, "/v1/top", metric=metric, by="product", currency="CNY", limit=100)
    return Counter({item["key"]: item["value"] for item in answer["items"] if item["value"]})


async def _consents(privacy: httpx.AsyncClient, customers: set[str]) -> dict[str, dict[str, str]]:
    states = {}
    for customer in customers:
        answer = await _get(privacy, f"/v1/customers/{customer}/consents")
        states[customer] = {purpose: each["state"] for purpose, each in answer["purposes"].items()}
    return states


async def _get(client: httpx.AsyncClient, path: str, **query: str | int) -> dict[str, Any]:
    response = await client.get(path, params=query)
    assert response.status_code == 200, f"{path}: {response.status_code} {response.text}"
    body: dict[str, Any] = response.json()
    return body
