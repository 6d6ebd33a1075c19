"""Collections and indexes of profile. What changes with every batch stays unindexed."""

from __future__ import annotations

from services.profile.mongo import CLOSED_KEYS, CONTRIBUTIONS, CUSTOMERS, DIRTY_MARKS, FILLERS, READS
from shared.storage import Migration, Store


async def _create(store: Store) -> None:
    for name in (CONTRIBUTIONS, CUSTOMERS, DIRTY_MARKS, CLOSED_KEYS, FILLERS, READS):
        await store.create_collection(name)
    # A customer's rows, in the order of its timeline.
    await store.collection(CONTRIBUTIONS).create_index([("customer", 1), ("occurred", -1), ("_id", -1)])
    await store.collection(CUSTOMERS).create_index([("tokens", 1)])
    await store.collection(DIRTY_MARKS).create_index([("partition", 1), ("_id", 1)])
    await store.collection(CLOSED_KEYS).create_index([("partition", 1)])
    await store.collection(CLOSED_KEYS).create_index([("customer", 1)])
    await store.collection(FILLERS).create_index([("partition", 1), ("due_at", 1)])
    await store.collection(READS).create_index([("customers", 1), ("at", -1)])


MIGRATIONS = (Migration(1, "customers-and-contributions", _create),)
