"""The collections of the `keyring` database. They need no index beside `_id`: a slot is a range of ids."""

from __future__ import annotations

from shared.storage import Migration, Store

KEYS = "keys"
FLOOR = "floor"
ROTATIONS = "rotations"
FLOOR_ID = "floor"


async def _create_collections(store: Store) -> None:
    for name in (KEYS, FLOOR, ROTATIONS):
        await store.create_collection(name)


KEYRING_MIGRATIONS = (Migration(1, "create-collections", _create_collections),)
