"""Collections and indexes of dedup."""

from __future__ import annotations

from services.dedup.mongo import documents
from shared.messaging import MESSAGING_MIGRATIONS
from shared.storage import Migration, Store


async def _create(store: Store) -> None:
    for name in (documents.SOURCE_RECORDS, documents.SIGNATURES, documents.IDENTIFIERS, documents.ENTITIES, documents.MERGE_LOG, documents.ERASURES):
        await store.create_collection(name)
    await store.collection(documents.SOURCE_RECORDS).create_index([("signature", 1), ("_id", 1)])
    await store.collection(documents.SIGNATURES).create_index([("tokens", 1)])
    await store.collection(documents.SIGNATURES).create_index([("customer", 1)])
    await store.collection(documents.SIGNATURES).create_index([("founder", 1)])
    await store.collection(documents.ENTITIES).create_index([("merged_into", 1)], partial={"state": "alias"})
    await store.collection(documents.MERGE_LOG).create_index([("touched", 1)])
    await store.collection(documents.MERGE_LOG).create_index([("open", 1)], partial={"open": True})
    await store.collection(documents.MERGE_LOG).create_index([("at", -1)])
    await store.collection(documents.ERASURES).create_index([("state", 1)])


MIGRATIONS = (*MESSAGING_MIGRATIONS, Migration(101, "dedup-identities", _create))
