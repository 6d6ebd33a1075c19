"""The batch worker: one consumer of one topic, hosted by FastStream, with MongoDB as the truth about its progress."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from aiokafka.errors import KafkaError
from faststream import AckPolicy
from faststream.kafka.message import KafkaAckableMessage

from shared.contracts.event import Decoder
from shared.contracts.topics import Topic
from shared.failpoints import mutant
from shared.messaging.assignment import Assignment, Held, RecordsLost
from shared.messaging.broker import Broker
from shared.messaging.fetching import BYTES_MAX, PARTITION_BYTES_MAX, RECORDS_MAX, Fetching, bounded
from shared.messaging.joining import Joining, traceparents
from shared.messaging.partition import lag_seconds
from shared.messaging.patience import Patience, Stopping
from shared.messaging.positions import Progress
from shared.messaging.record import Handler, Idle
from shared.messaging.share_limit import ShareLimit
from shared.messaging.tending import IdleDue, Tending, every_partition_is_due
from shared.messaging.work import Work
from shared.storage import StorageError, Store, TransientError
from shared.telemetry import batch_span, metrics

SESSION_TIMEOUT_MS = 6_000
"""The shortest that brokers allow by default: after a kill, nobody else gets the partitions before."""
HEARTBEAT_MS = 2_000
POLL_INTERVAL_MS_MAX = 300_000
POLL_PAUSE_MS = 20
"""The hosting loop rests so long after an empty poll, which itself waits in `Fetching`."""
_log = logging.getLogger("kehu.messaging.worker")


class BatchWorker:
    """Consumes one topic for one group. Made before, started after the broker.

    Per batch: one transaction with the handler's effects, the next positions and the outgoing events; then the relay; then Kafka's
    own offset, as a hint. A batch is what one poll brought of all partitions; where anything is unusual, of one partition. It stops
    loudly by `broker.fail` on anything it does not know, on lost records, and on mostly bad input.

    Attributes:
        consumer_group: its name at Kafka.
    """

    def __init__(
        self,
        *,
        group: str,
        topic: Topic,
        handle: Handler,
        store: Store,
        broker: Broker,
        idle: Idle | None = None,
        idle_due: IdleDue | None = None,
    ) -> None:
        """
        Args:
            group: the service's name; with namespace and topic it names the consumer group.
            idle: offered each owned partition at most once a second; see `Idle`.
            idle_due: cheap question, once a second, which partitions `idle` has work for; without it `idle` is asked for each.
        """
        self.group, self.topic = group, topic
        self._broker, self._idle, self._idle_due = broker, idle, idle_due
        # One per topic: members of one group rebalance together, so each worker's start would stop the others for seconds.
        self.consumer_group = f"{broker.namespace}{group}.{topic.name}"
        self._labels = {"topic": topic.name, "group": group}
        self.assignment = Assignment(Work(group, topic, store, broker, handle, idle, ShareLimit(), Decoder(topic.events)))
        self._patience = Patience(self.assignment, self._labels)
        self._joining = Joining(self.assignment, topic.name, group)
        self._measured: dict[int, tuple[int, float]] = {}
        self._fetching: Fetching | None = None
        self._tending: asyncio.Task[None] | None = None
        self._subscriber: Any = broker.host.subscriber(
            broker.physical(topic),
            group_id=self.consumer_group,
            batch=True,
            max_records=RECORDS_MAX,
            batch_timeout_ms=POLL_PAUSE_MS,
            # Written out: the default is at-most-once. A batch is acknowledged only when all of it is committed and relayed.
            ack_policy=AckPolicy.NACK_ON_ERROR,
            # Never jump: the start is the stored position, and an offset that is not in the log is an error.
            auto_offset_reset="none",
            listener=self.assignment.listener,
            session_timeout_ms=SESSION_TIMEOUT_MS,
            heartbeat_interval_ms=HEARTBEAT_MS,
            max_poll_interval_ms=POLL_INTERVAL_MS_MAX,
            fetch_max_bytes=BYTES_MAX,
            max_partition_fetch_bytes=PARTITION_BYTES_MAX,
            parser=self._parse,
            decoder=_records_of,
            title=f"{group} reads {topic.name}",
            description=topic.meaning,
        )
        self._subscriber(self._consume)

    async def start(self) -> None:
        """Joins the group, waiting for Kafka and for the topic as long as needed, and consumes in the background."""
        while True:
            try:
                # The client would look for a topic that is not there again after five minutes only.
                await self._broker.producer.partitions_of(self._broker.physical(self.topic))
                await self._subscriber.start()
                break
            except (KafkaError, TransientError, OSError, TimeoutError):
                _log.warning("consumer waits for Kafka", extra=self._labels)
                with contextlib.suppress(Exception):
                    await self._subscriber.consumer.stop()
            await asyncio.sleep(1.0)
        # Without an await in between, so before the hosting loop gets its first turn.
        self._fetching = self.assignment.attach(self._subscriber.consumer)
        tending = Tending(self.assignment, self._fetching, self._partitions_due, self._measure)
        self._tending = asyncio.create_task(self._report(tending), name=f"tend {self.group} {self.topic.name}")

    async def stop(self) -> None:
        """Finishes the batch in hand, leaves the group, gives sessions back."""
        self._patience.stopping.set()
        self.assignment.wake.set()
        if self._tending is not None:
            await self._tending
        await self._subscriber.stop()
        with contextlib.suppress(TransientError, TimeoutError):
            await asyncio.wait_for(self.assignment.end(), 5.0)

    def positions(self) -> dict[int, int]:
        """Next offset by partition, of the partitions this process owns and has fenced."""
        return {number: held.owner.position.next for number, held in self.assignment.held.items() if held.ready}

    def progress(self) -> list[Progress]:
        """Lag and last progress of the owned partitions; nothing is asked of Kafka for it."""
        return [self._progress_of(number, held) for number, held in sorted(self.assignment.held.items()) if held.ready]

    def ready(self) -> bool:
        """Whether it has joined and every assigned partition is fenced. Joined without an assignment is ready as well: others own all."""
        return self.assignment.ready()

    def last_poll_seconds(self) -> float:
        """Seconds since the consume loop last returned from a fetch; a stuck loop shows here."""
        return 0.0 if self._fetching is None else time.monotonic() - self._fetching.last_poll

    async def _parse(self, records: tuple[Any, ...]) -> KafkaAckableMessage:
        """Leaves headers and bodies alone: FastStream's own parser fails a whole batch on one header that is not UTF-8."""
        return KafkaAckableMessage(body=b"", raw_message=records, headers={}, message_id="", correlation_id="", consumer=self._subscriber.consumer)

    async def _consume(self, records: Sequence[Any]) -> None:
        """Returning acknowledges, which commits Kafka's offset as a hint; raising rewinds."""
        if self._broker.failure is not None:
            await asyncio.sleep(1.0)  # the process is about to end; the hosting loop would spin
            raise Stopping
        self._patience.ended = False  # one long wait a poll: more might last until the group evicts us
        try:
            await self._consume_polled([*_by_partition(records)])
        except Stopping:
            raise
        except Exception as error:
            self._fail(error)
            raise

    async def _consume_polled(self, polled: Sequence[tuple[int, Sequence[Any]]]) -> None:
        fetching = self._fetching
        if fetching is None:
            return
        done = await self._joining.consume(polled, fetching)
        for partition, records in polled:
            if partition not in done:
                await self._consume_partition(partition, records, fetching)

    async def _consume_partition(self, partition: int, records: Sequence[Any], fetching: Fetching) -> None:
        held = self.assignment.hold(partition)
        try:
            async with held.lock:
                if fetching.generations.get(partition) != held.generation or not held.ready:
                    # Fetched under another assignment or before a seek: dropped, and fetched again from the stored position.
                    await self._patience.done(partition, lambda: self.assignment.make_ready(partition))
                    return
                for batch in bounded(records):
                    if not await self._apply(partition, held, batch):
                        return
        finally:
            fetching.in_flight.discard(partition)

    async def _apply(self, partition: int, held: Held, batch: Sequence[Any]) -> bool:
        """Applies and relays; false if the rest of what was fetched has to be dropped."""
        if not self._continues(held, batch):
            self.assignment.seek(partition, held)
            return False
        owner, generation, started = held.owner, held.generation, time.monotonic()
        with batch_span(self.topic.name, [partition], self.group, len(batch), traceparents(batch)):
            done = await self._patience.done(partition, lambda: owner.apply(batch)) and await self._patience.done(partition, owner.relay)
        metrics.BATCHES.add(1, self._labels)
        metrics.BATCH_SECONDS.record(time.monotonic() - started, self._labels)
        return done and held.generation == generation

    def _continues(self, held: Held, batch: Sequence[Any]) -> bool:
        """Whether the batch starts at or before the stored position. A gap is believed only of the first records after a seek to it."""
        first, expected, fresh = batch[0].offset, held.owner.position.next, held.expects_first
        held.expects_first = False
        if first <= expected or mutant("no_offset_check"):
            return True
        if fresh and not self.topic.compacted:
            metrics.OFFSET_GAPS.add(1, self._labels)
            raise RecordsLost(f"{self.topic.name}: position {expected}, first record {first}")
        return fresh

    async def _partitions_due(self) -> Collection[int]:
        if self._idle is None:
            return ()
        return await (every_partition_is_due(self.assignment) if self._idle_due is None else self._idle_due())

    async def _report(self, tending: Tending) -> None:
        try:
            await tending.run(self._patience.stopping)
        except Exception as error:  # noqa: BLE001 - unknown: stop loudly
            self._fail(error)

    def _progress_of(self, number: int, held: Held) -> Progress:
        lag = self.assignment.lag_records(number)
        if not lag:
            held.owner.last_progress = datetime.now(UTC)
        return Progress(number, lag, lag_seconds(held.owner, lag), held.owner.last_progress)

    def _measure(self) -> None:
        for each in self.progress():
            lag = (each.lag_records, each.lag_seconds)
            if self._measured.get(each.partition) == lag:
                continue
            self._measured[each.partition] = lag
            labels = {**self._labels, "partition": str(each.partition)}
            metrics.LAG_RECORDS.set(each.lag_records, labels)
            metrics.LAG_SECONDS.set(each.lag_seconds, labels)

    def _fail(self, error: BaseException) -> None:
        # Only the kind of error: its text may quote a value. Ours of the storage hold codes only.
        _log.critical("stops: %s", error if isinstance(error, StorageError) else type(error).__name__, extra=self._labels)
        self._broker.fail(error)


async def _records_of(message: KafkaAckableMessage) -> Any:
    return message.raw_message


def _by_partition(records: Iterable[Any]) -> Iterable[tuple[int, list[Any]]]:
    """Groups what FastStream flattened; each partition's records already stand together."""
    for partition, group in itertools.groupby(records, key=lambda raw: raw.partition):
        yield int(partition), list(group)
