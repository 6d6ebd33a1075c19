"""Which partitions a worker holds: fenced and sought before use, and nothing applied that was fetched under another assignment."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError

from shared.messaging.fetching import Fetching
from shared.messaging.joined_batches import JoinedBatches
from shared.messaging.partition import PartitionOwner
from shared.messaging.producer import PublishFailed
from shared.messaging.work import Work

_log = logging.getLogger("kehu.messaging.worker")


class RecordsLost(RuntimeError):
    """Records between the stored position and the log are gone, or the topic was made anew. Somebody must look; nothing is skipped."""


class Listener(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka ships no types
    """Only marks partitions: whatever a listener raises is swallowed, and fetching goes on while it runs."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self.joined = False

    async def on_partitions_revoked(self, revoked: object) -> None:
        """Called before a rebalance."""
        self._changed()

    async def on_partitions_assigned(self, assigned: object) -> None:
        """Called after a rebalance."""
        self.joined = True
        self._changed()


class Held:
    """A partition's owner and what this process may do with it now.

    Attributes:
        lock: one thing at a time: a batch, or what the tending does.
        ready: fenced and sought; only then anything is applied.
        generation: rises with every change of assignment and every seek; records fetched under another one are dropped.
        expects_first: the next records are the first after a seek to the stored position.
    """

    def __init__(self, owner: PartitionOwner) -> None:
        self.owner = owner
        self.lock = asyncio.Lock()
        self.ready = False
        self.generation = 0
        self.expects_first = False

    def unready(self) -> None:
        """Whatever was fetched so far must not be applied; fence again first."""
        self.ready, self.generation = False, self.generation + 1


class Assignment:
    """The partitions of one consumer, as the group gave them and as far as they are ready."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._physical_topic = work.broker.physical(work.topic)
        self._consumer: Any = None
        self.held: dict[int, Held] = {}
        self.joined = JoinedBatches(work)
        self.listener = Listener(self.changed)
        self.wake = asyncio.Event()
        """Set when somebody should look after the partitions now rather than at the next second."""

    def attach(self, consumer: Any) -> Fetching:
        """Takes the running consumer and stands in front of its fetching."""
        self._consumer = consumer
        return Fetching(consumer, lambda partition: self.hold(partition).generation, self.out_of_range)

    def hold(self, partition: int) -> Held:
        """What is known of the partition; made at its first mention."""
        if partition not in self.held:
            self.held[partition] = Held(PartitionOwner(self._work, partition))
        return self.held[partition]

    def partitions(self) -> list[int]:
        """What the group has assigned to this process."""
        return sorted(place.partition for place in self.places())

    def places(self) -> frozenset[TopicPartition]:
        """The same, as the client names it."""
        return frozenset() if self._consumer is None else frozenset(self._consumer.assignment())

    def ready(self) -> bool:
        """Whether the group was joined and every assigned partition is fenced."""
        return self.listener.joined and all(self.hold(each).ready for each in self.partitions())

    def changed(self) -> None:
        """The group reassigned partitions: all are to be fenced again."""
        for held in self.held.values():
            held.unready()
        self.wake.set()

    def leave(self, held: Held) -> None:
        """The partition was lost, or trouble lasted too long."""
        held.unready()
        self.wake.set()

    async def make_ready(self, partition: int) -> None:
        """Fences the former owner and seeks to the stored position. Does nothing where the partition is ready or not ours.

        Raises:
            TransientError: a server is away; try again.
        """
        held = self.hold(partition)
        if held.ready or partition not in self.partitions():
            return
        generation = held.generation
        await held.owner.fence(await self.joined.session(), lambda: self._log_start(partition))
        if held.generation == generation:
            self.seek(partition, held)
            held.ready = True

    def seek(self, partition: int, held: Held) -> None:
        """Goes to the stored position; what was fetched before is void."""
        held.generation += 1
        held.expects_first = True
        with contextlib.suppress(IllegalStateError):  # revoked meanwhile
            self._consumer.seek(self._place(partition), held.owner.position.next)

    async def return_to_position(self, partition: int, held: Held, fetching: Fetching) -> None:
        """With nothing fetched, the consumer must stand at the stored position."""
        if partition in fetching.in_flight or not held.ready:
            return
        generation, expected = held.generation, held.owner.position.next
        with contextlib.suppress(IllegalStateError, TimeoutError):
            async with asyncio.timeout(1.0):
                standing = await self._consumer.position(self._place(partition))
            if standing != expected and partition not in fetching.in_flight and held.generation == generation:
                self.seek(partition, held)

    def out_of_range(self, partition: int, offset: int) -> None:
        """A fetch met no such offset: Kafka's hint was stale, or records are lost."""
        held = self.hold(partition)
        if held.ready and offset == held.owner.position.next:
            _log.critical("position is not in the log", extra={"topic": self._work.topic.name, "partition": partition})
            self._work.broker.fail(RecordsLost(f"{self._work.topic.name}/{partition}: position {offset} is not in the log"))
        else:
            self.leave(held)

    def lag_records(self, partition: int) -> int:
        """Records known to be behind the consumed position, at the last fetch."""
        highwater = None
        with contextlib.suppress(IllegalStateError, AssertionError):
            highwater = self._consumer.highwater(self._place(partition))
        return max(0, (highwater or 0) - self.hold(partition).owner.position.next)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Fetches nothing more meanwhile; heartbeats go on."""
        places = self.places()
        if self._consumer is not None:
            self._consumer.pause(*places)
        try:
            yield
        finally:
            if self._consumer is not None:
                self._consumer.resume(*(places & self.places()))

    async def end(self) -> None:
        """Gives the sessions back."""
        for held in self.held.values():
            await held.owner.end()
        await self.joined.end()

    async def _log_start(self, partition: int) -> int:
        place = self._place(partition)
        try:
            return int((await self._consumer.beginning_offsets([place]))[place])
        except (KafkaError, TimeoutError) as error:
            raise PublishFailed(type(error).__name__) from error

    def _place(self, partition: int) -> TopicPartition:
        return TopicPartition(self._physical_topic, partition)
