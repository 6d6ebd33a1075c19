"""Destroyed keys leave the memory of every process at once, not only of one replica."""

from __future__ import annotations

import asyncio

from shared.contracts.privacy import KeysDestroyed
from shared.contracts.topics import REQUESTS
from shared.messaging import Broker, Record, broadcast_reader
from shared.sealing import KeyRing


async def evict_destroyed_keys(broker: Broker, keyring: KeyRing) -> None:
    """Reads the requests topic without a group until cancelled, and evicts what it says is destroyed."""

    async def evict(record: Record) -> None:
        if isinstance(record.event, KeysDestroyed):
            keyring.evict(record.event.key_ids)

    reader = broadcast_reader(broker, REQUESTS, evict)
    await reader.start()
    try:
        await asyncio.Event().wait()
    finally:
        await reader.stop()
