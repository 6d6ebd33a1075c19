"""What really stands in the read models after a run, gathered through the services' own doors and from their documents."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from deploy.local.stack import Stack
from shared.storage import Store
from tests.chaos.copies import Copies, copies
from tests.chaos.oracle import Name
from tests.chaos.stack import Clients

LOOKUP_MAX = 1_000
_ASKED_AT_ONCE = 20
_ROWS: Mapping[str, tuple[str, str, dict[str, Any]]] = {
    "source records": ("dedup", "source_records", {"state": "resolved"}),
    "source records, erased": ("dedup", "source_records", {"state": "erased"}),
    "contributions, profile": ("profile", "contributions", {"state": "present"}),
    "contributions, profile, stubs": ("profile", "contributions", {"state": "stub"}),
    "contributions, profile, erased": ("profile", "contributions", {"state": "erased"}),
    "contributions, analytics": ("analytics", "contributions", {"kind": {"$exists": True}}),
    "contributions, analytics, stubs": ("analytics", "contributions", {"kind": {"$exists": False}, "erased": {"$ne": True}}),
    "contributions, analytics, erased": ("analytics", "contributions", {"erased": True}),
}
"""Documents by their state, since mere existence says little: a stub waits for its submission, an erased row only keeps it away."""
_EVENTS = {"intake.submissions.v1": "intake.submission-accepted.v1", "dedup.identities.v1": "dedup.submission-resolved.v1"}


@dataclass(slots=True)
class Observed:
    """The final state.

    Attributes:
        customer_of: by (channel, message id); None where nobody holds it.
        rows: documents by what they are.
        timeline: by customer, each present item as (submission, kind, day, order lines), sorted.
        copies: by topic, of the event that carries a submission.
        destroyed: submissions whose key is null in the key ring.
    """

    customer_of: dict[Name, str | None]
    rows: dict[str, int]
    kpis: dict[str, Any]
    channel_days: Counter[tuple[str, str]]
    revenue: Counter[str]
    quantity: Counter[str]
    new_buyers: Counter[str]
    returning_buyers: Counter[str]
    profile_kinds: Counter[str]
    customers_active: int
    timeline: dict[str, list[Any]]
    consents: dict[str, dict[str, str]]
    outbox: int
    dead_letters: int
    copies: dict[str, Copies]
    destroyed: set[Name]


async def observe(stack: Stack, clients: Clients, submission_ids: Mapping[Name, str]) -> Observed:
    """Reads everything the oracle speaks about."""
    customers = await _customers(clients, list(submission_ids.values()))
    customer_of = {name: customers[submission] for name, submission in submission_ids.items()}
    kinds, active = await _profiles(stack)
    return Observed(
        customer_of=customer_of,
        rows={what: await _count(stack, *place) for what, place in _ROWS.items()},
        kpis=await clients.ask("analytics", "GET", "/v1/kpis"),
        channel_days=await _channel_days(clients),
        revenue=await _top(clients, "revenue"),
        quantity=await _top(clients, "quantity"),
        new_buyers=await _series(clients, "new_buyers"),
        returning_buyers=await _series(clients, "returning_buyers"),
        profile_kinds=kinds,
        customers_active=active,
        timeline=await _timeline(stack, submission_ids),
        consents=await _consents(clients, {customer for customer in customer_of.values() if customer is not None}),
        outbox=sum([await _count(stack, service, "outbox", {}) for service in stack.services]),
        dead_letters=sum([await _count(stack, service, "dead_letters", {}) for service in stack.services]),
        copies={topic: await copies(stack.kafka_bootstrap_servers, stack.namespace + topic, event) for topic, event in _EVENTS.items()},
        destroyed=await _destroyed(stack, submission_ids),
    )


async def _count(stack: Stack, service: str, collection: str, query: dict[str, Any]) -> int:
    store = await Store.connect(stack.mongodb_uri("operator"), database=service, namespace=stack.namespace)
    try:
        return await store.collection(collection).count(query)
    finally:
        store.close()


async def _destroyed(stack: Stack, submission_ids: Mapping[Name, str]) -> set[Name]:
    """Read from the rows themselves, since a certificate only says what it was told."""
    store = await Store.connect(stack.mongodb_uri("operator"), database="keyring", namespace=stack.namespace)
    try:
        gone = {row["_id"] for row in await store.collection("keys").find({"wrapped": None}, projection=["_id"])}
    finally:
        store.close()
    return {name for name, submission in submission_ids.items() if UUID(submission).bytes in gone}


async def _profiles(stack: Stack) -> tuple[Counter[str], int]:
    store = await Store.connect(stack.mongodb_uri("operator"), database="profile", namespace=stack.namespace)
    kinds: Counter[str] = Counter()
    active = 0
    for document in await store.collection("customers").find({"state": "active"}):
        active += 1
        kinds.update(document.get("kinds", {}))
    store.close()
    return kinds, active


async def _timeline(stack: Stack, submission_ids: Mapping[Name, str]) -> dict[str, list[Any]]:
    names = {UUID(submission).bytes: name for name, submission in submission_ids.items()}
    store = await Store.connect(stack.mongodb_uri("operator"), database="profile", namespace=stack.namespace)
    items: dict[str, list[Any]] = {}
    for row in await store.collection("contributions").find({"state": "present"}, projection=["customer", "kind", "occurred", "lines"]):
        items.setdefault(str(UUID(bytes=row["customer"])), []).append([names[row["_id"]], row["kind"], row["occurred"], row["lines"]])
    store.close()
    return {customer: sorted(own) for customer, own in items.items()}


async def _customers(clients: Clients, submission_ids: Collection[str]) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for some in _chunks(submission_ids, LOOKUP_MAX):
        found |= (await clients.ask("dedup", "POST", "/v1/resolutions:lookup", json={"submission_ids": some}))["customers"]
    return found


async def _channel_days(clients: Clients) -> Counter[tuple[str, str]]:
    answer = await clients.ask("analytics", "GET", "/v1/series", params={"metric": "submissions", "by": "day", "split": "channel"})
    return Counter({(point["split"], point["at"]): point["value"] for point in answer["points"] if point["value"]})


async def _series(clients: Clients, metric: str) -> Counter[str]:
    answer = await clients.ask("analytics", "GET", "/v1/series", params={"metric": metric, "by": "month"})
    return Counter({point["at"]: point["value"] for point in answer["points"] if point["value"]})


async def _top(clients: Clients, metric: str) -> Counter[str]:
    answer = await clients.ask("analytics", "GET", "/v1/top", params={"metric": metric, "by": "product", "currency": "CNY", "limit": 100})
    return Counter({item["key"]: item["value"] for item in answer["items"] if item["value"]})


async def _consents(clients: Clients, customers: Collection[str]) -> dict[str, dict[str, str]]:
    async def states(customer: str) -> dict[str, str]:
        answer = await clients.ask("privacy", "GET", f"/v1/customers/{customer}/consents")
        return {purpose: each["state"] for purpose, each in answer["purposes"].items()}

    found: dict[str, dict[str, str]] = {}
    for some in _chunks(customers, _ASKED_AT_ONCE):
        found |= zip(some, await asyncio.gather(*map(states, some)), strict=True)
    return found


def _chunks(items: Iterable[str], size: int) -> Iterable[list[str]]:
    iterator = iter(items)
    while some := list(itertools.islice(iterator, size)):
        yield some
