"""The connection to Kafka that a process shares: FastStream's broker for the workers and one replaceable producer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from faststream.kafka import KafkaBroker

from shared.contracts.event import Outgoing
from shared.contracts.topics import Topic
from shared.messaging.client_logs import limit_client_logs
from shared.messaging.outbox import Message, to_message
from shared.messaging.producer import REQUEST_TIMEOUT_MS, PublishFailed, ReplaceableProducer

GRACEFUL_SECONDS = 15.0
_log = logging.getLogger("kehu.messaging.broker")


class BrokerSettings(Protocol):
    """What the broker needs of the process's settings."""

    @property
    def kafka_bootstrap_servers(self) -> str:
        """Comma separated host:port."""

    @property
    def namespace(self) -> str:
        """Prefix of topics and groups."""


class Broker:
    """Hosts the workers and publishes. One per process.

    Attributes:
        namespace: prefix of physical topic and group names.
        host: FastStream's broker, which runs the workers' subscribers.
        failure: set by a worker that met something unknown; the process must end non-zero so that its supervisor restarts it.
    """

    def __init__(self, settings: BrokerSettings) -> None:
        limit_client_logs()
        self.bootstrap_servers = settings.kafka_bootstrap_servers
        self.namespace = settings.namespace
        self.failure: BaseException | None = None
        self._failed = asyncio.Event()
        self._producer: ReplaceableProducer | None = None
        self._offsets_reader: AIOKafkaConsumer | None = None
        self._offsets_lock = asyncio.Lock()
        # Consumers only: the producer is ours, and nothing may create topics. Without type injection a call costs no thread hop.
        self.host = KafkaBroker(
            self.bootstrap_servers.split(","),
            graceful_timeout=GRACEFUL_SECONDS,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            allow_auto_create_topics=False,
            consumer_only=True,
            apply_types=False,
            logger=None,
        )

    async def start(self) -> None:
        """Waits until Kafka answers, however long that takes."""
        delay = 0.2
        while True:
            try:
                await self.producer.start()
                break
            except PublishFailed:
                _log.warning("Kafka does not answer; waiting")
            await asyncio.sleep(delay)
            delay = min(delay * 1.5, 5.0)
        await self.host.connect()

    async def stop(self) -> None:
        """Stops what was started. Workers are stopped before."""
        with contextlib.suppress(KafkaError):
            await self.host.stop()
        if self._producer is not None:
            await self._producer.stop()
        if self._offsets_reader is not None:
            await self._offsets_reader.stop()
            self._offsets_reader = None

    @property
    def producer(self) -> ReplaceableProducer:
        """The producer, made at first use because it belongs to the running loop."""
        if self._producer is None:
            self._producer = ReplaceableProducer(self.bootstrap_servers, self.namespace)
        return self._producer

    async def publish(self, outgoing: Sequence[Outgoing]) -> None:
        """Publishes without an outbox: only for what may be lost or is published again by its owner.

        Raises:
            PublishFailed: not all were acknowledged.
        """
        await self.producer.publish([to_message(each) for each in outgoing])

    async def publish_messages(self, messages: Sequence[Message]) -> None:
        """Publishes outbox messages; see `ReplaceableProducer.publish`."""
        await self.producer.publish(messages)

    def physical(self, topic: str | Topic) -> str:
        """Name on the wire: namespace and name."""
        return self.namespace + (topic if isinstance(topic, str) else topic.name)

    async def end_offsets(self, topic: str | Topic) -> dict[int, int]:
        """Offset behind the last record, by partition.

        Raises:
            PublishFailed: Kafka does not answer.
        """
        name = self.physical(topic)
        async with self._offsets_lock:
            try:
                reader = await self._reader()
                partitions = await self.producer.partitions_of(name)
                ends = await reader.end_offsets([TopicPartition(name, each) for each in partitions])
            except (KafkaError, OSError, TimeoutError) as error:
                raise PublishFailed(type(error).__name__) from error
        return {place.partition: int(end) for place, end in ends.items()}

    def fail(self, error: BaseException) -> None:
        """Reports what must stop the process; the first one counts."""
        self.failure = self.failure or error
        self._failed.set()

    async def wait_for_failure(self) -> BaseException:
        """Waits until a worker fails for good; the caller then ends the process with a non-zero code."""
        await self._failed.wait()
        return self.failure or RuntimeError("failed")

    async def _reader(self) -> AIOKafkaConsumer:
        if self._offsets_reader is None:
            reader = AIOKafkaConsumer(bootstrap_servers=self.bootstrap_servers, request_timeout_ms=REQUEST_TIMEOUT_MS, enable_auto_commit=False)
            await reader.start()
            self._offsets_reader = reader
        return self._offsets_reader
