"""A destroyed key leaves the cache of every process, told by the requests topic without a consumer group."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from shared.contracts.event import Outgoing
from shared.contracts.privacy import KeysDestroyed
from shared.contracts.topics import REQUESTS
from shared.hosting import Settings
from shared.hosting.key_eviction import evict_destroyed_keys
from shared.messaging import Broker, Record
from shared.messaging.topic_admin import apply_topics
from shared.sealing import KeyRing, LocalKeyFile
from shared.storage import Store

pytestmark = pytest.mark.servers

DEADLINE_SECONDS = 30.0
REPLICAS = 3


@pytest.fixture
async def keyring(settings: Settings) -> AsyncIterator[Store]:
    store = await Store.connect(settings.mongodb_uri, database="keyring", namespace=settings.namespace)
    yield store
    store.close()


@pytest.fixture
async def broker(settings: Settings) -> AsyncIterator[Broker]:
    await apply_topics(settings.kafka_bootstrap_servers, settings.namespace)
    broker = Broker(settings)
    await broker.start()
    yield broker
    await broker.stop()


async def test_a_destroyed_key_leaves_every_replicas_cache(keyring: Store, broker: Broker, tmp_path: Path) -> None:
    provider = LocalKeyFile.open(tmp_path / "keys")
    replicas = [KeyRing(keyring, provider) for _ in range(REPLICAS)]
    await replicas[0].start()
    key_id = uuid4()
    await keyring.transaction(lambda transaction: replicas[0].create([key_id], transaction))
    answers: list[UUID] = []

    async def acknowledge(record: Record, event: KeysDestroyed) -> None:
        answers.append(event.request_id)

    readers = [asyncio.create_task(evict_destroyed_keys(broker, ring, acknowledge)) for ring in replicas]
    for ring in replicas:
        assert (await ring.open([key_id]))[key_id] is not None

    await KeyRing(keyring, provider).destroy([key_id])
    await publish_until_gone(broker, key_id, replicas)
    assert answers == []
    last = KeysDestroyed(request_id=key_id, key_ids=(key_id,), part=1, parts=1, acknowledge=True)
    await broker.publish([Outgoing(REQUESTS.name, key_id.bytes, uuid4(), last, datetime.now(UTC))])
    async with asyncio.timeout(DEADLINE_SECONDS):
        while answers != [key_id] * REPLICAS:  # noqa: ASYNC110 - the readers run in this loop
            await asyncio.sleep(0.05)

    for reader in readers:
        reader.cancel()
    await asyncio.gather(*readers, return_exceptions=True)


async def publish_until_gone(broker: Broker, key_id: UUID, replicas: list[KeyRing]) -> None:
    """Published again until all have heard it, since a reader that starts after the first time hears only what follows."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while [key for ring in replicas if (key := (await ring.open([key_id]))[key_id]) is not None]:
            request_id = uuid4()
            destroyed = KeysDestroyed(request_id=request_id, key_ids=(key_id,), part=1, parts=1)
            await broker.publish([Outgoing(REQUESTS.name, request_id.bytes, uuid4(), destroyed, datetime.now(UTC))])
            await asyncio.sleep(0.1)
