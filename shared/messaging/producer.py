"""The producer: whole batches per partition, acknowledged by all in-sync replicas, thrown away after any failure."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
)

from shared.messaging.outbox import Message
from shared.messaging.partitioner import partition_of
from shared.storage import TransientError
from shared.telemetry import metrics

REQUEST_TIMEOUT_MS = 5_000
"""The default of 40 s would freeze everything that long when a broker does."""
BATCH_BYTES = 1024 * 1024
REQUEST_BYTES_MAX = 12 * 1024 * 1024
DELIVERY_SECONDS = 30.0
_log = logging.getLogger("kehu.messaging.producer")


class PublishFailed(TransientError):
    """Some messages were not acknowledged; the producer was replaced. Publish all of them again: the ids are the same."""


class PublishRefused(RuntimeError):
    """Kafka will never take these messages: too large, no such topic, or not allowed. Somebody must look; repeating helps nobody."""


_PERMANENT = (MessageSizeTooLargeError, RecordListTooLargeError, InvalidTopicError, TopicAuthorizationFailedError, ClusterAuthorizationFailedError)


class ReplaceableProducer:
    """An idempotent producer that is discarded after any failed send.

    After a batch found no leader for too long, aiokafka's idempotent producer can never send to that partition again
    (aiokafka #1017); a new one works at once. Nothing acknowledged is lost by that.
    """

    def __init__(self, bootstrap_servers: str, namespace: str) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._namespace = namespace
        self._native: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._partitions: dict[str, int] = {}
        self._discarding: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Connects. Raises PublishFailed if Kafka does not answer."""
        await self._current()

    async def stop(self) -> None:
        """Flushes and closes."""
        if self._native is not None:
            await _close(self._native)
        self._native = None
        await asyncio.gather(*self._discarding)

    async def publish(self, messages: Iterable[Message]) -> None:
        """Returns when every message is acknowledged by all in-sync replicas; order is kept per key.

        Args:
            messages: as the outbox holds them.

        Raises:
            PublishFailed: at least one was not acknowledged.
            PublishRefused: at least one never will be.
        """
        native = await self._current()
        try:
            async with asyncio.timeout(DELIVERY_SECONDS):
                await self._send(native, messages)
        except _PERMANENT as error:
            raise PublishRefused(type(error).__name__) from error
        except (KafkaError, TimeoutError, AssertionError, OSError) as error:
            self._discard(native)
            raise PublishFailed(type(error).__name__) from error

    async def partitions_of(self, physical_topic: str) -> range:
        """The partitions of a topic, as Kafka says now."""
        return range(await self._count_partitions(await self._current(), physical_topic))

    async def _send(self, native: AIOKafkaProducer, messages: Iterable[Message]) -> None:
        by_place: dict[tuple[str, int], list[Message]] = {}
        for message in messages:
            topic = self._namespace + message.topic
            count = self._partitions.get(topic) or await self._count_partitions(native, topic)
            by_place.setdefault((topic, partition_of(message.key or message.headers[0][1], count)), []).append(message)
        futures: list[Any] = []
        try:
            for (topic, partition), group in by_place.items():
                for batch in _batches(native, group):
                    futures.append(await native.send_batch(batch, topic, partition=partition))  # noqa: PERF401 - a failure keeps the earlier ones
        finally:
            results = await asyncio.gather(*futures, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _count_partitions(self, native: AIOKafkaProducer, topic: str) -> int:
        self._partitions[topic] = len(await native.partitions_for(topic))
        return self._partitions[topic]

    async def _current(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._native is None:
                self._native = await self._connect()
            return self._native

    async def _connect(self) -> AIOKafkaProducer:
        native = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap_servers,
            acks="all",
            enable_idempotence=True,
            compression_type="zstd",  # aiokafka packs lz4 at its highest level: four times the time for a third more bytes
            linger_ms=0,  # whole batches are handed over, there is nothing to wait for
            max_batch_size=BATCH_BYTES,
            max_request_size=REQUEST_BYTES_MAX,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
        )
        try:
            await native.start()
        except (KafkaError, OSError, TimeoutError) as error:
            await _close(native)
            raise PublishFailed(type(error).__name__) from error
        except asyncio.CancelledError:
            await _close(native)
            raise
        return native

    def _discard(self, native: AIOKafkaProducer) -> None:
        if self._native is not native:
            return  # another publisher was faster
        _log.warning("producer discarded after a failed send; a new one takes over")
        metrics.PRODUCERS_REPLACED.add(1)
        self._native = None
        self._partitions.clear()
        task = asyncio.create_task(_close(native))
        self._discarding.add(task)
        task.add_done_callback(self._discarding.discard)


async def _close(native: AIOKafkaProducer) -> None:
    # A producer that lost its broker may wait for ever for what it holds: its outbox documents are sent again anyway.
    with contextlib.suppress(Exception):
        async with asyncio.timeout(2 * REQUEST_TIMEOUT_MS / 1000):
            await native.stop()


def _batches(native: AIOKafkaProducer, messages: Sequence[Message]) -> Iterable[Any]:
    now_ms = int(time.time() * 1000)
    batch = native.create_batch()
    for message in messages:
        if batch.append(timestamp=now_ms, key=message.key, value=message.value, headers=message.headers) is None:
            yield batch
            batch = native.create_batch()
            batch.append(timestamp=now_ms, key=message.key, value=message.value, headers=message.headers)
    batch.close()  # closed batches are sent at once
    yield batch
