"""Profile's part of the digest that a disturbed and an undisturbed run are compared by.

It leaves out what may differ between two right runs: versions, key ids, epochs, aliases and times of arrival.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from services.profile.documents import contribution_from, customer_from
from services.profile.domain.contribution import Contribution, State
from services.profile.domain.customer import Customer, CustomerState
from services.profile.mongo import CONTRIBUTIONS, CUSTOMERS
from services.profile.use_cases.likeness import open_golden
from shared.sealing import DataKey, KeyRing
from shared.storage import Store

_OPENED_AT_ONCE = 5_000


async def golden_values(store: Store, keyring: KeyRing) -> dict[str, Any]:
    """By customer id, of active customers that hold anything: golden values, counts, orders and revenue."""
    holding = {"state": CustomerState.ACTIVE.value, "kinds": {"$exists": True}}
    customers = [customer_from(each) for each in await store.collection(CUSTOMERS).find(holding)]
    digest: dict[str, Any] = {}
    for start in range(0, len(customers), _OPENED_AT_ONCE):
        some = customers[start : start + _OPENED_AT_ONCE]
        keys = await keyring.open(customer.key_id for customer in some if customer.key_id is not None)
        digest |= {str(customer.customer_id): _values(customer, keys) for customer in some}
    return digest


async def digest_part(store: Store, keyring: KeyRing) -> dict[str, Any]:
    """The same with each customer's timeline, named by its smallest submission id, so that ids need not agree either."""
    timelines: dict[UUID, list[Contribution]] = {}
    for document in await store.collection(CONTRIBUTIONS).find({"state": State.PRESENT.value}, projection={"sealed": 0}):
        row = contribution_from(document | {"sealed": b""})
        if row.customer is not None:
            timelines.setdefault(row.customer, []).append(row)
    values = await golden_values(store, keyring)
    return {
        min(str(row.submission_id) for row in rows): {**values.get(str(customer), {}), "timeline": _timeline(rows)}
        for customer, rows in timelines.items()
    }


def _values(customer: Customer, keys: dict[UUID, DataKey | None]) -> dict[str, Any]:
    golden = open_golden(customer, keys[customer.key_id]) if customer.key_id is not None else None
    tally = customer.tally
    return {
        "fields": {name: found.value for name, found in golden.fields.items()} if golden is not None else {},
        "counts": dict(sorted(tally.kinds.items())),
        "order_count": tally.order_count,
        "revenue_minor": dict(sorted(tally.revenue_minor.items())),
    }


def _timeline(rows: list[Contribution]) -> list[list[str]]:
    return sorted([row.content.occurred_on.isoformat(), str(row.submission_id), row.content.kind] for row in rows if row.content is not None)
