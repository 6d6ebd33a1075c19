"""Collections and indexes of analytics."""

from __future__ import annotations

from services.analytics.mongo import CONTRIBUTIONS, COUNTERS, CUSTOMERS, DIRTY_MARKS, MERGES
from shared.messaging import MESSAGING_MIGRATIONS
from shared.storage import Migration, Store


async def _create(store: Store) -> None:
    for name in (CONTRIBUTIONS, CUSTOMERS, COUNTERS, MERGES, DIRTY_MARKS):
        await store.create_collection(name)
    await store.collection(CONTRIBUTIONS).create_index([("customer", 1), ("order_day", 1)])
    await store.collection(COUNTERS).create_index([("metric", 1), ("period", 1)])
    await store.collection(DIRTY_MARKS).create_index([("partition", 1)])


MIGRATIONS = (*MESSAGING_MIGRATIONS, Migration(1, "figures", _create))
