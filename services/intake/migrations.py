"""Collections and indexes of intake's database. Transactions write only to collections that exist."""

from __future__ import annotations

from shared.messaging import MESSAGING_MIGRATIONS
from shared.storage import Migration, Store

LEDGER = "ledger"
BODIES = "bodies"
QUARANTINE = "quarantine"
CHANNELS = "channels"
WRITE_KEYS = "write_keys"
IMPORTS = "imports"
OUTBOX = "outbox"
"""Created and written by `shared.messaging`; read here to tell whether an event is still waiting."""


async def _create_collections(store: Store) -> None:
    for name in (LEDGER, BODIES, QUARANTINE, CHANNELS, WRITE_KEYS, IMPORTS):
        await store.create_collection(name)


async def _create_indexes(store: Store) -> None:
    # Only what holds a sealed body ever expires; the ledger's rows are the guard against repeats and stay for good.
    for name in (BODIES, QUARANTINE):
        await store.collection(name).create_index([("expires_at", 1)], expire_after_seconds=0)
    await store.collection(QUARANTINE).create_index([("received_at", -1)])
    await store.collection(WRITE_KEYS).create_index([("hash", 1)], unique=True)
    await store.collection(WRITE_KEYS).create_index([("channel", 1)])


MIGRATIONS = (
    *MESSAGING_MIGRATIONS,
    Migration(101, "create intake's collections", _create_collections),
    Migration(102, "create intake's indexes", _create_indexes),
)
