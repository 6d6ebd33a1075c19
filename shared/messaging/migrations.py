"""Collections that the delivery core keeps in each service's database."""

from __future__ import annotations

from shared.storage import Migration, Store


async def _create(store: Store) -> None:
    for name in ("offsets", "outbox", "leases", "dead_letters"):
        await store.create_collection(name)
    await store.collection("outbox").create_index([("writer", 1), ("_id", 1)], partial={"writer": {"$exists": True}})
    dead_letters = store.collection("dead_letters")
    await dead_letters.create_index([("group", 1), ("topic", 1), ("partition", 1), ("key", 1), ("offset", 1)])
    await dead_letters.create_index([("state", 1), ("group", 1), ("topic", 1)])


MESSAGING_MIGRATIONS = (Migration(1, "delivery-core", _create),)
