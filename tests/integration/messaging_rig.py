"""What the delivery tests share: small topics, a handler whose effect shows every double, and cuttable connections."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID, uuid5

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from shared.contracts import dedup, intake
from shared.contracts.event import Outgoing
from shared.contracts.submission import Submission
from shared.contracts.topics import DEAD_LETTERS, IDENTITIES, SUBMISSIONS, Topic
from shared.messaging import MESSAGING_MIGRATIONS, Batch, BatchWorker, Broker, Effects
from shared.storage import Store, Transaction, UpdateOne, migrate

GROUP = "dedup"
DAY = date(2026, 1, 2)
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
ROOT = UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")


@dataclass(frozen=True)
class Servers:
    """Structural stand-in for the settings that a broker needs."""

    kafka_bootstrap_servers: str
    namespace: str
    mongodb_uri: str


def submission(number: int, key: bytes | None = None) -> Outgoing:
    """A submission with an id that depends on the number alone."""
    identity = uuid5(ROOT, str(number))
    body = Submission(
        submission_id=identity,
        kind="profile",
        channel_id="web",
        channel_kind="web",
        channel_trust=50,
        received_on=DAY,
        occurred_on=DAY,
        sealed=b"s" * 64,
    )
    return Outgoing(SUBMISSIONS.name, key or identity.bytes[:2], identity, intake.SubmissionAccepted(submission=body), NOON, key_id=identity)


def resolved(number: int, key: bytes) -> Outgoing:
    """The same on the topic that keeps the order of a key."""
    accepted = submission(number, key)
    assert isinstance(accepted.event, intake.SubmissionAccepted)
    event = dedup.SubmissionResolved(customer_id=UUID(bytes=key), assignment=number, submission=accepted.event.submission)
    return Outgoing(IDENTITIES.name, key, uuid5(accepted.event_id, "resolved"), event, NOON)


async def count_and_pass_on(batch: Batch, transaction: Transaction) -> Effects:
    """Adds 1 per record, so that a doubled effect shows, and publishes one event per record."""
    effects = Effects()
    for record in batch:
        assert isinstance(record.event, intake.SubmissionAccepted)
        effects.write("counters", UpdateOne({"_id": record.event_id.bytes}, {"$inc": {"n": 1}}, upsert=True))
        found = dedup.SubmissionResolved(customer_id=record.event_id, assignment=1, submission=record.event.submission)
        effects.publish(Outgoing(IDENTITIES.name, record.event_id.bytes, uuid5(record.event_id, "resolved"), found, NOON))
    return effects


@dataclass(frozen=True)
class Outcome:
    """How many submissions were treated wrongly, and how.

    Attributes:
        effects_lost, effects_doubled: by the counter that each of them raises by 1.
        events_lost: no event came of it.
        events_changed: a repeat of its event had other bytes.
        strange: counters and events of nothing that was sent.
    """

    effects_lost: int = 0
    effects_doubled: int = 0
    events_lost: int = 0
    events_changed: int = 0
    strange: int = 0


class Rig:
    """One isolated service: topics, store, broker, and what came out."""

    def __init__(self, servers: Servers, store: Store, broker: Broker) -> None:
        self.servers, self.store, self.broker = servers, store, broker

    def worker(self, handle: Any = count_and_pass_on, topic: Topic = SUBMISSIONS, **options: Any) -> BatchWorker:
        return BatchWorker(group=GROUP, topic=topic, handle=handle, store=options.pop("store", self.store), broker=self.broker, **options)

    @asynccontextmanager
    async def running(self, worker: BatchWorker) -> AsyncIterator[BatchWorker]:
        await worker.start()
        try:
            yield worker
        finally:
            await worker.stop()

    async def counters(self) -> dict[bytes, int]:
        return {each["_id"]: each["n"] for each in await self.store.collection("counters").find({})}

    async def published(self, topic: Topic) -> list[Any]:
        """Every record of the topic, read from its start."""
        return await read_all(self.servers, topic)

    def asked_for(self, topic: Topic) -> bool:
        """Whether the broker's client looks for the topic."""
        native = self.broker.producer._native
        return native is not None and self.broker.physical(topic) in native.client._topics

    async def settled(self, count: int) -> bool:
        return len(await self.counters()) >= count and await self.store.collection("outbox").count({}) == 0

    async def outcome(self, count: int) -> Outcome:
        """What became of the first `count` submissions, told only their numbers."""
        sent = [uuid5(ROOT, str(number)) for number in range(count)]
        counters = await self.counters()
        events = {(dict(each.headers)["ce_id"].decode(), each.value) for each in await self.published(IDENTITIES)}
        found = Counter(identity for identity, _ in events)
        return Outcome(
            effects_lost=sum(each.bytes not in counters for each in sent),
            effects_doubled=sum(counters.get(each.bytes, 1) > 1 for each in sent),
            events_lost=sum(str(uuid5(each, "resolved")) not in found for each in sent),
            events_changed=sum(found[str(uuid5(each, "resolved"))] > 1 for each in sent),
            strange=len(counters.keys() - {each.bytes for each in sent}) + len(found.keys() - {str(uuid5(each, "resolved")) for each in sent}),
        )

    async def assert_exactly_once(self, count: int) -> None:
        """Each of the first `count` submissions has one effect, and at least one event with always the same bytes."""
        assert await self.outcome(count) == Outcome()


@asynccontextmanager
async def rig(servers: Servers, *, partitions: int = 2, topics: Sequence[Topic] = (SUBMISSIONS, IDENTITIES, DEAD_LETTERS)) -> AsyncIterator[Rig]:
    await create_topics(servers, topics, partitions)
    store = await Store.connect(servers.mongodb_uri, database="dedup", namespace=servers.namespace)
    await migrate(store, MESSAGING_MIGRATIONS)
    await store.create_collection("counters")
    broker = Broker(servers)
    await broker.start()
    try:
        yield Rig(servers, store, broker)
    finally:
        await broker.stop()
        store.close()
        await delete_topics(servers, topics)


async def create_topics(servers: Servers, topics: Sequence[Topic], partitions: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers.kafka_bootstrap_servers)
    await admin.start()
    await admin.create_topics([NewTopic(servers.namespace + each.name, partitions, 1, topic_configs=each.config) for each in topics])
    await admin.close()


async def delete_topics(servers: Servers, topics: Sequence[Topic]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers.kafka_bootstrap_servers)
    await admin.start()
    await admin.delete_topics([servers.namespace + each.name for each in topics])
    await admin.close()


async def read_all(servers: Servers, topic: Topic) -> list[Any]:
    reader = AIOKafkaConsumer(bootstrap_servers=servers.kafka_bootstrap_servers, auto_offset_reset="earliest", enable_auto_commit=False)
    await reader.start()
    try:
        name = servers.namespace + topic.name
        places = [TopicPartition(name, each) for each in sorted(reader.partitions_for_topic(name) or await _partitions(reader, name))]
        reader.assign(places)
        await reader.seek_to_beginning(*places)
        ends = await reader.end_offsets(places)
        found: list[Any] = []
        while any([await reader.position(place) < ends[place] for place in places]):
            for records in (await reader.getmany(timeout_ms=200)).values():
                found += records
        return found
    finally:
        await reader.stop()


async def _partitions(reader: AIOKafkaConsumer, name: str) -> set[int]:
    await reader._client._wait_on_metadata(name)
    return set(reader.partitions_for_topic(name) or ())


async def until(condition: Callable[[], Awaitable[bool]] | Callable[[], bool], seconds: float = 20.0) -> None:
    """Waits for the condition; fails the test when it does not hold in time."""
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer if isinstance(answer, bool) else await answer:
            return
        assert time.monotonic() < deadline, "the condition did not hold in time"
        await asyncio.sleep(0.05)


def repeats(records: Sequence[Any]) -> int:
    """How many records came more than once, by event id."""
    counts = Counter(dict(each.headers)["ce_id"] for each in records)
    return sum(count - 1 for count in counts.values())


class Proxy:
    """A TCP door in front of a server that a test can close and open."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._writers: set[asyncio.StreamWriter] = set()
        self._open = True
        self.port = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Proxy]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            self.close()
            server.close()

    def close(self) -> None:
        """Cuts every connection and refuses new ones."""
        self._open = False
        for writer in tuple(self._writers):
            writer.transport.abort()

    def open(self) -> None:
        self._open = True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._open:
            writer.transport.abort()
            return
        onward_reader, onward_writer = await asyncio.open_connection(*self._target)
        self._writers |= {writer, onward_writer}
        await asyncio.gather(_copy(reader, onward_writer), _copy(onward_reader, writer))
        self._writers -= {writer, onward_writer}


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()
