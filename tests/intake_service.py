"""A running intake for the tests: the real application on real servers, without a port."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from services.intake.app import build
from services.intake.micro_batches import MicroBatches
from shared.access import LocalIssuer, mint_token
from shared.contracts.event import Decoder, Event
from shared.contracts.topics import DEAD_LETTERS, QUARANTINE, RECEIPTS, REQUESTS, SUBMISSIONS, Topic
from shared.hosting import ServiceApp, Settings
from shared.hosting.application import build_application
from shared.hosting.host import Delivery
from shared.messaging.topic_admin import apply_topics

DEADLINE_SECONDS = 60.0
INTAKE_TOPICS = (SUBMISSIONS, QUARANTINE, REQUESTS, RECEIPTS, DEAD_LETTERS)
QUIET = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""aiokafka leaves a connection to the garbage collector when its start is cancelled, which a short test does."""


@dataclass
class RunningIntake:
    """The service, a client at its door, and a write key of the channel `shop`."""

    settings: Settings
    service: ServiceApp
    client: httpx.AsyncClient
    admin: dict[str, str]
    write_key: str = ""
    key_id: str = ""

    @property
    def auth(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.write_key}"}

    async def submit(self, body: Any, **headers: str) -> httpx.Response:
        return await self.client.post("/v1/submissions", json=body, headers=self.auth | headers)

    async def submit_batch(self, items: list[Any], query: str = "", **headers: str) -> httpx.Response:
        return await self.client.post(f"/v1/submissions:batch{query}", json={"submissions": items}, headers=self.auth | headers)

    async def get(self, path: str) -> httpx.Response:
        return await self.client.get(path, headers=self.admin)

    async def records(self, topic: Topic, count: int) -> list[tuple[dict[str, bytes], Event]]:
        """The first `count` records of the topic, or as many as came before the deadline."""
        name = self.settings.namespace + topic.name
        consumer = AIOKafkaConsumer(bootstrap_servers=self.settings.kafka_bootstrap_servers, auto_offset_reset="earliest", enable_auto_commit=False)
        await consumer.start()
        try:
            consumer.assign([TopicPartition(name, each) for each in range(topic.partitions)])
            found: list[tuple[dict[str, bytes], Event]] = []
            decoder = Decoder(topic.events)
            with suppress(TimeoutError):
                async with asyncio.timeout(DEADLINE_SECONDS):
                    while len(found) < count:
                        for records in (await consumer.getmany(timeout_ms=200)).values():
                            found += [(dict(each.headers), decoder(dict(each.headers), each.value)) for each in records]
            return found
        finally:
            await consumer.stop()


async def eventually(holds: Callable[[], Awaitable[bool]], seconds: float = DEADLINE_SECONDS) -> None:
    """Returns once it holds; TimeoutError if it never does."""
    async with asyncio.timeout(seconds):
        while not await holds():  # noqa: ASYNC110 - what it waits for happens in other processes
            await asyncio.sleep(0.05)


@asynccontextmanager
async def running_intake(settings: Settings, *, topics: bool = True) -> AsyncIterator[RunningIntake]:
    if topics:
        await apply_topics(settings.kafka_bootstrap_servers, settings.namespace, INTAKE_TOPICS)
    token = mint_token(LocalIssuer(settings.keys).signing_key(), "tester", ["admin", "steward", "operator"])
    service = await build(settings)
    delivery = Delivery(service)
    running = asyncio.create_task(delivery.run())
    transport = httpx.ASGITransport(build_application(service), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://intake", timeout=60) as client:
        intake = RunningIntake(settings, service, client, {"Authorization": f"Bearer {token}"})
        try:
            await _open_channel(intake, running)
            yield intake
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await delivery.stop()
            # aiokafka leaves a connection behind when a start is cancelled; let it be found here, where the warning is known.
            gc.collect()


async def _open_channel(intake: RunningIntake, running: asyncio.Task[None]) -> None:
    """Waits until submissions are taken on, then opens the channel; another process may have done so."""
    writer: MicroBatches = intake.service.tasks[0].__self__  # type: ignore[attr-defined]
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not writer.running:
            if running.done():
                running.result()
            await asyncio.sleep(0.02)
    answer = await intake.client.post("/v1/channels", json={"id": "shop", "kind": "store"}, headers=intake.admin)
    if answer.status_code == 201:
        intake.write_key, intake.key_id = answer.json()["write_key"], answer.json()["key_id"]
