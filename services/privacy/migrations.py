"""Collections and indexes of privacy."""

from __future__ import annotations

from shared.storage import Migration, Store

COLLECTIONS = (
    "ledger",
    "customers",
    "dirty_marks",
    "fillers",
    "requests",
    "receipts",
    "access_parts",
    "certificates",
    "closed_keys",
    "audit",
    "audit_head",
)


async def _create(store: Store) -> None:
    for name in COLLECTIONS:
        await store.create_collection(name)
    await store.collection("ledger").create_index([("customer", 1)])
    await store.collection("customers").create_index([("erased_by", 1)], partial={"erased_by": {"$exists": True}})
    await store.collection("dirty_marks").create_index([("partition", 1)])
    await store.collection("fillers").create_index([("partition", 1), ("due_at", 1)])
    await store.collection("requests").create_index([("stage", 1)])
    await store.collection("requests").create_index([("customer", 1)])
    await store.collection("requests").create_index([("opened_at", -1)])
    await store.collection("receipts").create_index([("request", 1)])
    await store.collection("access_parts").create_index([("request", 1)])
    await store.collection("certificates").create_index([("slots_waiting", 1)])
    await store.collection("closed_keys").create_index([("due_at", 1)], partial={"destroyed_at": None})
    await store.collection("closed_keys").create_index([("customer", 1)])


MIGRATIONS = (Migration(1, "ledger-requests-and-audit", _create),)
