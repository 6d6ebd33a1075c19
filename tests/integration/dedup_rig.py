"""A whole dedup service on real servers, with a stand-in for intake that seals submissions and sends them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from services.dedup.app import build
from services.dedup.mongo import current_customers
from shared.contracts.event import Decoder, Event, Outgoing
from shared.contracts.intake import SubmissionAccepted
from shared.contracts.submission import Identifier, SubmissionBody
from shared.contracts.topics import SUBMISSIONS, TOPICS, Topic
from shared.hosting import ServiceApp, Settings
from shared.hosting.host import Delivery
from shared.messaging import Broker, consumed_positions
from shared.messaging.topic_admin import apply_topics, delete_topics
from shared.sealing import KEYRING_MIGRATIONS, KeyRing, LocalKeyFile, body_aad
from shared.storage import Store, Transaction, TransientError, migrate
from tests.dedup_world import NOON, envelope, submission_id

Identity = dict[str, str]
"""Identifier type (with `/namespace`) -> value; `name` and `birth_date` are fields."""


def body_of(identity: Identity) -> SubmissionBody:
    fields = {name: value for name, value in identity.items() if name in ("name", "birth_date")}
    keys = [(kind.partition("/"), value) for kind, value in identity.items() if kind not in fields]
    identifiers = tuple(Identifier(type=kind, value=value, namespace=namespace) for (kind, _, namespace), value in keys)
    return SubmissionBody(occurred_at=NOON, identifiers=identifiers, fields=dict(fields))


class Rig:
    """One isolated installation. Submissions are named by numbers."""

    def __init__(self, settings: Settings, store: Store, broker: Broker, keyring: KeyRing) -> None:
        self.settings, self.store, self.broker, self.keyring = settings, store, broker, keyring

    async def seal(self, identities: dict[int, Identity]) -> list[Outgoing]:
        async def create(transaction: Transaction) -> Any:
            return await self.keyring.create([submission_id(each) for each in identities], transaction)

        keys = await self.keyring.store.transaction(create)
        outgoing = []
        for number, identity in identities.items():
            each = submission_id(number)
            sealed = keys[each].seal(msgspec.json.encode(body_of(identity)), body_aad(each, 1))
            event = SubmissionAccepted(submission=envelope(number, sealed))
            outgoing.append(Outgoing(SUBMISSIONS.name, each.bytes[:2], each, event, datetime.now(UTC), key_id=each))
        return outgoing

    async def send(self, identities: dict[int, Identity]) -> list[Outgoing]:
        outgoing = await self.seal(identities)
        await self.publish(outgoing)
        return outgoing

    async def publish(self, outgoing: Sequence[Outgoing]) -> None:
        """Repeats a send that a busy broker did not answer, as the relay does: a doubled record is part of the promise."""
        deadline = time.monotonic() + 60
        while True:
            try:
                return await self.broker.publish(outgoing)
            except TransientError:
                assert time.monotonic() < deadline, "the broker did not answer in time"
            await asyncio.sleep(0.5)

    @asynccontextmanager
    async def service(self) -> AsyncIterator[ServiceApp]:
        """A dedup process's asynchronous side."""
        app = await build(self.settings.model_copy(update={"instance": f"dedup-{time.monotonic_ns()}"}))
        delivery = Delivery(app)
        running = asyncio.create_task(delivery.run())
        try:
            yield app
            assert not running.done(), running.exception()
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
            await delivery.stop()

    async def settled(self) -> bool:
        ends = await self.broker.end_offsets(SUBMISSIONS)
        positions = await consumed_positions(self.store, "dedup", SUBMISSIONS)
        done = all(positions.get(each, 0) >= end for each, end in ends.items())
        return done and await self.store.collection("outbox").count({}) == 0 and await self.store.collection("merge_log").count({"open": True}) == 0

    async def customers(self) -> dict[UUID, UUID]:
        return await current_customers(self.store)

    async def events(self, topic: Topic) -> list[Event]:
        """Every event of the topic, without repeats."""
        reader = AIOKafkaConsumer(bootstrap_servers=self.settings.kafka_bootstrap_servers, enable_auto_commit=False)
        await reader.start()
        decoder, found = Decoder(topic.events), dict[bytes, Event]()
        name = self.settings.namespace + topic.name
        places = [TopicPartition(name, each) for each in range(topic.partitions)]
        reader.assign(places)
        await reader.seek_to_beginning(*places)
        ends = await reader.end_offsets(places)
        while any([await reader.position(place) < ends[place] for place in places]):
            for records in (await reader.getmany(timeout_ms=200)).values():
                for each in records:
                    headers = dict(each.headers)
                    found[headers["ce_id"]] = decoder(headers, each.value)
        await reader.stop()
        return list(found.values())


@asynccontextmanager
async def rig(settings: Settings) -> AsyncIterator[Rig]:
    await apply_topics(settings.kafka_bootstrap_servers, settings.namespace, TOPICS)
    store = await Store.connect(settings.mongodb_uri, database="dedup", namespace=settings.namespace)
    keyring = KeyRing(store.other("keyring"), LocalKeyFile.open(settings.keys))
    await migrate(keyring.store, KEYRING_MIGRATIONS)
    await keyring.start()
    broker = Broker(settings)
    await broker.start()
    try:
        yield Rig(settings, store, broker, keyring)
    finally:
        await broker.stop()
        store.close()
        await delete_topics(settings.kafka_bootstrap_servers, settings.namespace)


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, "the condition did not hold in time"
        await asyncio.sleep(0.1)


def numbers(submissions: Sequence[UUID], among: int) -> set[int]:
    return {number for number in range(among) if submission_id(number) in submissions}
