"""A dedup process killed at its failpoints, on real Kafka and MongoDB."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from shared.hosting import Settings
from tests.dedup_world import grouped
from tests.integration.dedup_rig import Rig, rig, until
from tests.integration.test_dedup_service import expected, households

pytestmark = pytest.mark.servers
KILLED = 137


@asynccontextmanager
async def process(settings: Settings, port: int, failpoint: str = "") -> AsyncIterator[asyncio.subprocess.Process]:
    environment = os.environ | {
        "KEHU_KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "KEHU_MONGODB_URI": settings.mongodb_uri,
        "KEHU_NAMESPACE": settings.namespace,
        "KEHU_DATA_FOLDER": str(settings.data_folder),
        "KEHU_KEY_FOLDER": str(settings.keys),
        "KEHU_PORT": str(port),
        "KEHU_FAILPOINT": failpoint,
    }
    child = await asyncio.create_subprocess_exec(sys.executable, "-m", "services.dedup", env=environment, stdout=asyncio.subprocess.DEVNULL)
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


@pytest.mark.parametrize("failpoint", ["dedup.decided_before_effects", "worker.after_commit_before_relay"])
async def test_a_killed_process_loses_and_doubles_nothing(settings: Settings, unused_tcp_port: int, failpoint: str) -> None:
    identities = households(60)
    async with rig(settings) as one:
        sent = await one.send(identities)
        async with process(settings, unused_tcp_port, failpoint) as child:
            assert await asyncio.wait_for(child.wait(), 120) == KILLED
        await one.publish(sent[:10])
        async with one.service():
            await until(one.settled)
        await assert_exact(one, identities)


async def assert_exact(one: Rig, identities: dict[int, dict[str, str]]) -> None:
    customers = await one.customers()
    assert grouped(customers, customers.__getitem__) == expected(one, identities)
    entities = await one.store.collection("entities").find({"state": "active"})
    assert sum(each["submissions"] for each in entities) == len(identities)
