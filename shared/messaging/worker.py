"""The batch worker: one consumer of one topic, hosted by FastStream, with MongoDB as the truth about its progress."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import random
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError
from faststream import AckPolicy
from faststream.kafka.message import KafkaAckableMessage

from shared.contracts.event import Decoder
from shared.contracts.topics import Topic
from shared.failpoints import mutant
from shared.messaging.broker import Broker
from shared.messaging.fetching import BYTES_MAX, RECORDS_MAX, Fetching, bounded
from shared.messaging.partition import Overtaken, PartitionOwner, PositionMoved, Work, lag_seconds
from shared.messaging.positions import Progress
from shared.messaging.producer import PublishFailed
from shared.messaging.record import Handler, Idle
from shared.messaging.share_limit import ShareLimit
from shared.storage import DuplicateKey, Store, TransientError
from shared.telemetry import batch_span, metrics
from shared.telemetry.tracing import LINKS_MAX

T = TypeVar("T")

SESSION_TIMEOUT_MS = 6_000
"""The shortest that brokers allow by default: after a kill, nobody else gets the partitions before."""
HEARTBEAT_MS = 1_500
POLL_INTERVAL_MS_MAX = 300_000
POLL_PAUSE_MS = 20
"""The hosting loop rests so long after an empty poll, which itself waits in `Fetching`."""
TEND_SECONDS = 1.0
DELAY_SECONDS_MAX = 15.0
_PAUSE_FROM_SECONDS = 0.2
_PATIENCE_SECONDS = 60.0
"""How long a batch waits inside the handler; then it is dropped, unacknowledged, so that polling goes on and the member is not evicted."""
_DUPLICATES_MAX = 8
_log = logging.getLogger("kehu.messaging.worker")


class RecordsLost(RuntimeError):
    """Records between the stored position and the log are gone, or the topic was made anew. Somebody must look; nothing is skipped."""


class Stopping(Exception):
    """The worker stops while a dependency is away: what is not committed is delivered again."""


class _Assigned(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka ships no types
    """Only marks partitions: whatever a listener raises is swallowed, and fetching goes on while it runs."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self.joined = False

    async def on_partitions_revoked(self, revoked: object) -> None:
        self._changed()

    async def on_partitions_assigned(self, assigned: object) -> None:
        self.joined = True
        self._changed()


class _Held:
    """A partition's owner and what this process may do with it now."""

    def __init__(self, owner: PartitionOwner) -> None:
        self.owner = owner
        self.lock = asyncio.Lock()
        self.ready = False
        self.generation = 0
        self.expects_first = False

    def unready(self) -> None:
        """Whatever was fetched so far must not be applied; fence again first."""
        self.ready, self.generation = False, self.generation + 1


class BatchWorker:
    """Consumes one topic for one group. Made before, started after the broker. See `architecture.md` for the cycle.

    It stops loudly by `broker.fail` on anything it does not know, on lost records, and on mostly bad input.
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
        idle_due: Callable[[], Awaitable[Collection[int]]] | None = None,
    ) -> None:
        """
        Args:
            group: consumer group, the service's name; the namespace is added.
            idle: offered each owned partition at most once a second; see `Idle`.
            idle_due: cheap question, once a second, which partitions `idle` has work for; without it `idle` is asked for each.
        """
        self.group, self.topic = group, topic
        self._broker, self._idle_due = broker, idle_due
        self._work = Work(group, topic, store, broker, handle, idle, ShareLimit(), Decoder(topic.events))
        self._held: dict[int, _Held] = {}
        self._fetching: Fetching | None = None
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._tending: asyncio.Task[None] | None = None
        self._listener = _Assigned(self._assignment_changed)
        self._subscriber: Any = broker.host.subscriber(
            broker.physical(topic),
            group_id=broker.namespace + group,
            batch=True,
            max_records=RECORDS_MAX,
            batch_timeout_ms=POLL_PAUSE_MS,
            ack_policy=AckPolicy.NACK_ON_ERROR,
            auto_offset_reset="none",
            listener=self._listener,
            session_timeout_ms=SESSION_TIMEOUT_MS,
            heartbeat_interval_ms=HEARTBEAT_MS,
            max_poll_interval_ms=POLL_INTERVAL_MS_MAX,
            max_partition_fetch_bytes=BYTES_MAX,
            parser=self._parse,
            decoder=_records_of,
            title=f"{group} reads {topic.name}",
            description=topic.meaning,
        )
        self._subscriber(self._consume)
        self._labels = {"topic": topic.name, "group": group}

    # -- life

    async def start(self) -> None:
        """Joins the group, waiting for Kafka as long as needed, and consumes in the background."""
        while True:
            try:
                await self._subscriber.start()
                break
            except (KafkaError, OSError, TimeoutError):
                _log.warning("consumer waits for Kafka", extra=self._where())
                with contextlib.suppress(Exception):
                    await self._subscriber.consumer.stop()
            await asyncio.sleep(1.0)
        # Before the hosting loop gets its first turn.
        self._fetching = Fetching(self._subscriber.consumer, self._generation_of, self._out_of_range)
        self._tending = asyncio.create_task(self._tend(), name=f"tend {self.group} {self.topic.name}")

    async def stop(self) -> None:
        """Finishes the batch in hand, leaves the group, gives sessions back."""
        self._stopping.set()
        self._wake.set()
        if self._tending is not None:
            await self._tending
        await self._subscriber.stop()
        for held in self._held.values():
            with contextlib.suppress(TransientError, TimeoutError):
                await asyncio.wait_for(held.owner.end(), 2.0)

    def positions(self) -> dict[int, int]:
        """Next offset by partition, of the partitions this process owns and has fenced."""
        return {number: held.owner.position.next for number, held in self._held.items() if held.ready}

    def progress(self) -> list[Progress]:
        """Lag and last progress of the owned partitions; nothing is asked of Kafka for it."""
        return [self._progress_of(number, held) for number, held in sorted(self._held.items()) if held.ready]

    def ready(self) -> bool:
        """Whether it has joined and every assigned partition is fenced. Joined without an assignment is ready as well: others own all."""
        return self._listener.joined and all(self._held[each].ready for each in self._assigned() if each in self._held)

    def last_poll_seconds(self) -> float:
        """Seconds since the consume loop last returned from a fetch or committed; a stuck loop shows here."""
        if self._fetching is None:
            return 0.0
        return time.monotonic() - self._fetching.last_poll

    # -- what FastStream calls

    async def _parse(self, records: tuple[Any, ...]) -> KafkaAckableMessage:
        """Leaves headers and bodies alone: FastStream's own parser fails a whole batch on one header that is not UTF-8."""
        return KafkaAckableMessage(body=b"", raw_message=records, headers={}, message_id="", correlation_id="", consumer=self._subscriber.consumer)

    async def _consume(self, records: Sequence[Any]) -> None:
        """Returning acknowledges, which commits Kafka's offset as a hint; raising rewinds."""
        if self._broker.failure is not None:
            await asyncio.sleep(1.0)
            raise Stopping
        try:
            for partition, group in _by_partition(records):
                await self._consume_partition(partition, group)
        except Stopping:
            raise
        except BaseException as error:
            if not isinstance(error, asyncio.CancelledError):
                self._fail(error)
            raise

    async def _consume_partition(self, partition: int, records: Sequence[Any]) -> None:
        fetching = self._fetching
        if fetching is None:
            return
        try:
            held = self._hold(partition)
            async with held.lock:
                if fetching.generations.get(partition) != held.generation or not held.ready:
                    # Fetched under another assignment or before a seek: dropped, and fetched again from the stored position.
                    await self._retrying(partition, lambda: self._make_ready(partition))
                    return
                for batch in bounded(records):
                    if not await self._apply(partition, held, batch):
                        return
        finally:
            fetching.in_flight.discard(partition)

    # -- one batch

    async def _apply(self, partition: int, held: _Held, batch: Sequence[Any]) -> bool:
        """Applies and relays; false if the rest of what was fetched has to be dropped."""
        if not self._continues(held, batch):
            self._seek(partition, held)
            return False
        owner = held.owner
        generation, started = held.generation, time.monotonic()
        with batch_span(self.topic.name, partition, self.group, len(batch), _traceparents(batch)):
            done = await self._retrying(partition, lambda: owner.apply(batch)) and await self._retrying(partition, owner.relay)
        metrics.BATCHES.add(1, self._labels)
        metrics.BATCH_SECONDS.record(time.monotonic() - started, self._labels)
        return done and held.generation == generation

    def _continues(self, held: _Held, batch: Sequence[Any]) -> bool:
        """Whether the batch starts at or before the stored position. A gap is believed only of the first records after a seek to it."""
        first, expected, fresh = batch[0].offset, held.owner.position.next, held.expects_first
        held.expects_first = False
        if first <= expected or mutant("no_offset_check"):
            return True
        if not fresh:
            return False
        if self.topic.compacted:
            return True
        raise RecordsLost(f"{self.topic.name}: position {expected}, first record {first}")

    async def _retrying(self, partition: int, work: Callable[[], Awaitable[object]]) -> bool:
        """Does `work` until it succeeds; false if the partition was lost or patience ended, and then it is marked unready.

        Raises:
            Stopping: the worker stops while the trouble lasts.
            Exception: whatever `work` raises that is not transient.
        """
        delay, deadline, duplicates = 0.005, time.monotonic() + _PATIENCE_SECONDS, 0
        held = self._held[partition]
        while True:
            try:
                await self._refreshed(held, delay > 0.005)
                await work()
            except Overtaken:
                self._leave(held)
                return False
            except (TransientError, KafkaError, DuplicateKey) as error:
                duplicates += isinstance(error, DuplicateKey)
                if duplicates > _DUPLICATES_MAX:
                    raise  # no race: the handler inserts what it should have read
                metrics.RETRIES.add(1, {**self._labels, "error": type(error).__name__})
                if not await self._wait(partition, delay, deadline, error):
                    self._leave(held)
                    return False
                delay = min(delay * 2, DELAY_SECONDS_MAX)
            else:
                return True

    async def _refreshed(self, held: _Held, again: bool) -> None:
        if again and held.ready:
            await held.owner.refresh()

    async def _wait(self, partition: int, delay: float, deadline: float, error: BaseException) -> bool:
        """Backs off with jitter, paused when it takes longer; false when the partition is not worth waiting for."""
        if self._stopping.is_set() and not isinstance(error, PositionMoved):
            raise Stopping from error
        if time.monotonic() > deadline or partition not in self._assigned():
            return False
        if delay >= _PAUSE_FROM_SECONDS:
            _log.warning("waits for a dependency: %s", type(error).__name__, extra=self._where(partition))
        with self._paused(delay >= _PAUSE_FROM_SECONDS), contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), delay * (0.5 + random.random()))  # noqa: S311 - jitter
        return True

    @contextlib.contextmanager
    def _paused(self, long: bool) -> Iterator[None]:
        """Fetches nothing more meanwhile; heartbeats go on."""
        places = self._places() if long else frozenset()
        consumer = self._subscriber.consumer
        consumer.pause(*places)
        try:
            yield
        finally:
            consumer.resume(*(places & self._places()))

    # -- readiness

    def _leave(self, held: _Held) -> None:
        held.unready()
        self._wake.set()

    def _assignment_changed(self) -> None:
        for held in self._held.values():
            held.unready()
        self._wake.set()

    async def _make_ready(self, partition: int) -> None:
        """Fences the former owner and seeks to the stored position. No-op where the partition is ready or not ours."""
        held = self._hold(partition)
        if held.ready or partition not in self._assigned():
            return
        generation = held.generation
        await held.owner.fence(lambda: self._log_start(partition))
        if held.generation == generation:
            self._seek(partition, held)
            held.ready = True

    def _seek(self, partition: int, held: _Held) -> None:
        held.generation += 1
        held.expects_first = True
        with contextlib.suppress(IllegalStateError):  # revoked meanwhile
            self._subscriber.consumer.seek(self._place(partition), held.owner.position.next)

    def _out_of_range(self, partition: int, offset: int) -> None:
        held = self._hold(partition)
        if held.ready and offset == held.owner.position.next:
            self._fail(RecordsLost(f"{self.topic.name}/{partition}: position {offset} is not in the log"))
        else:
            self._leave(held)  # Kafka's hint was stale: the stored position counts

    async def _log_start(self, partition: int) -> int:
        place = self._place(partition)
        try:
            return int((await self._subscriber.consumer.beginning_offsets([place]))[place])
        except (KafkaError, TimeoutError) as error:
            raise PublishFailed(type(error).__name__) from error

    # -- what happens without records

    async def _tend(self) -> None:
        """Once a second: make partitions ready, publish leftovers, mark passes, redrives."""
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), TEND_SECONDS)
            self._wake.clear()
            try:
                await self._tend_all()
                self._measure()
            except (TransientError, KafkaError, DuplicateKey) as error:
                _log.warning("tending waits: %s", type(error).__name__, extra=self._where())
            except Exception as error:  # noqa: BLE001 - unknown: stop loudly
                self._fail(error)
                return

    async def _tend_all(self) -> None:
        assigned = self._assigned()
        due = await self._partitions_due(assigned)
        for partition in assigned:
            held = self._hold(partition)
            if not held.lock.locked() and not self._stopping.is_set():
                async with held.lock:
                    await self._tend_partition(partition, held, partition in due)

    async def _partitions_due(self, assigned: Collection[int]) -> Collection[int]:
        if self._work.idle is None:
            return ()
        return assigned if self._idle_due is None else await self._idle_due()

    async def _tend_partition(self, partition: int, held: _Held, due: bool) -> None:
        await self._make_ready(partition)
        if not held.ready:
            return
        try:
            await self._tend_owner(held.owner, due=due)
        except PositionMoved:
            held.unready()  # the next turn fences again
        except (TransientError, DuplicateKey):
            with contextlib.suppress(TransientError):
                await held.owner.refresh()
            held.unready()
            raise
        await self._return_to_position(partition, held)

    async def _tend_owner(self, owner: PartitionOwner, *, due: bool) -> None:
        if owner.leftovers:
            await owner.relay()
        if due and await owner.mark_pass():
            await owner.relay()
        while owner.has_dead_letters and await owner.redrive():
            await owner.relay()

    async def _return_to_position(self, partition: int, held: _Held) -> None:
        """With nothing fetched, the consumer must stand at the stored position."""
        if self._fetching is None or partition in self._fetching.in_flight or not held.ready:
            return
        generation, expected = held.generation, held.owner.position.next
        with contextlib.suppress(IllegalStateError, TimeoutError):
            standing = await asyncio.wait_for(self._subscriber.consumer.position(self._place(partition)), 1.0)
            if standing != expected and partition not in self._fetching.in_flight and held.generation == generation:
                self._seek(partition, held)

    # -- small things

    def _hold(self, partition: int) -> _Held:
        if partition not in self._held:
            self._held[partition] = _Held(PartitionOwner(self._work, partition))
        return self._held[partition]

    def _generation_of(self, partition: int) -> int:
        return self._hold(partition).generation

    def _places(self) -> frozenset[TopicPartition]:
        consumer = self._subscriber.consumer
        return frozenset() if consumer is None else frozenset(consumer.assignment())

    def _assigned(self) -> list[int]:
        return sorted(place.partition for place in self._places())

    def _place(self, partition: int) -> TopicPartition:
        return TopicPartition(self._broker.physical(self.topic), partition)

    def _progress_of(self, partition: int, held: _Held) -> Progress:
        highwater = None
        with contextlib.suppress(IllegalStateError, AssertionError):
            highwater = self._subscriber.consumer.highwater(self._place(partition))
        lag = max(0, (highwater or 0) - held.owner.position.next)
        if not lag:
            held.owner.last_progress = datetime.now(UTC)
        return Progress(partition, lag, lag_seconds(held.owner, lag), held.owner.last_progress)

    def _measure(self) -> None:
        for each in self.progress():
            labels = {**self._labels, "partition": str(each.partition)}
            metrics.LAG_RECORDS.set(each.lag_records, labels)
            metrics.LAG_SECONDS.set(each.lag_seconds, labels)

    def _where(self, partition: int | None = None) -> dict[str, object]:
        return {"group": self.group, "topic": self.topic.name} | ({} if partition is None else {"partition": partition})

    def _fail(self, error: BaseException) -> None:
        # Only the kind of error: its text may quote a value.
        _log.critical("stops: %s", type(error).__name__, extra=self._where())
        self._broker.fail(error)


def _traceparents(batch: Sequence[Any]) -> Iterator[str | None]:
    """Of the first records only: a span has few links anyway."""
    for raw in batch[:LINKS_MAX]:
        for name, value in raw.headers:
            if name == "traceparent":
                yield value.decode("ascii", "replace")


async def _records_of(message: KafkaAckableMessage) -> Any:
    return message.raw_message


def _by_partition(records: Iterable[Any]) -> Iterable[tuple[int, list[Any]]]:
    """Groups what FastStream flattened; each partition's records already stand together."""
    for partition, group in itertools.groupby(records, key=lambda raw: raw.partition):
        yield int(partition), list(group)
